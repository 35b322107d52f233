/**
 * The contract of a discovery source: it watches one target and reports the endpoints it knows.
 * "I could not find out" (`failed`) and "there are none" (an empty `replace`) are different news
 * and never confused: the first keeps the last good set (faults.md D1, D2).
 */
import { normalAddress } from "./dns/address.ts";

/** What a source knows of one endpoint. Plain data; equality is by value. */
export interface EndpointInfo {
  /** A DNS name, an IP literal without brackets, or `unix:` and the absolute path of a socket. */
  readonly host: string;
  /** 0 for a socket with a path. */
  readonly port: number;
  /** Relative share of picks, 0 or more; default 1. 0 beside others: only if nothing else is available. */
  readonly weight?: number;
  readonly zone?: string;
  /** Part of the identity besides the address (a pod's uid): a recycled address starts afresh. */
  readonly uid?: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** Where a source reports to. Calls after `stop()` are ignored. */
export interface EndpointSink {
  /**
   * The whole set, as the source knows it now. Empty means: there are none; `why` then says for people
   * how the source knows, and stands in the errors of calls.
   */
  replace(endpoints: readonly EndpointInfo[], why?: string): void;
  /** A difference, for sources that know one: work is proportional to it, not to the set. */
  change(upserted: readonly EndpointInfo[], removed: readonly EndpointInfo[]): void;
  /** The source cannot tell at the moment. The last good set stays in use. */
  failed(error: Error): void;
}

export interface Discovery {
  /** Closed set, used as a metric label: `static`, `dns`, … */
  readonly source: string;
  /** Starts watching. A source that knows its answer already calls the sink before it returns. */
  watch(sink: EndpointSink): EndpointWatch;
}

export interface EndpointWatch {
  /** Asks the source to look again soon, for example after a refused connection. May be ignored. */
  refresh(): void;
  /** Idempotent. Frees sockets and timers; no call to the sink follows. */
  stop(): void;
}

const UNIX = "unix:";

/** The path of a Unix socket that `host` stands for; undefined: it is on the network. */
export function socketPathOf(host: string): string | undefined {
  return host.startsWith(UNIX) ? host.slice(UNIX.length) : undefined;
}

/**
 * `host:port`, with brackets around an IPv6 literal, or `unix:path`. The same text for all ways to
 * write one address.
 */
export function addressOf({
  host,
  port,
}: {
  readonly host: string;
  readonly port: number;
}): string {
  if (!host.includes(":")) return `${host}:${port}`;
  if (host.startsWith(UNIX)) return host;
  const normal = normalAddress(host) ?? host;
  return normal.includes(":") ? `[${normal}]:${port}` : `${normal}:${port}`;
}
