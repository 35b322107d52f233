/** An endpoint as discovery and configuration describe it, and the text that its address is known by. */
import { normalAddress } from "./discovery/dns/address.ts";

/** What a source knows of one endpoint. Plain data; equality is by value. */
export interface EndpointInfo {
  /** A DNS name, an IP literal without brackets, or `unix:` and the absolute path of a socket. */
  readonly host: string;
  /** 0 for a socket with a path. */
  readonly port: number;
  /** Relative share of picks, 0 or more; default 1. 0 beside others: only if nothing else is available. */
  readonly weight?: number;
  /** Where it stands; see docs/reference/zones.md for what follows from it. */
  readonly zone?: string;
  /** The zones whose callers it is meant for, where the source decides that. No effect unless all endpoints have it. */
  readonly forZones?: readonly string[];
  /** Part of the identity besides the address (a pod's uid): a recycled address starts afresh. */
  readonly uid?: string;
  /** It is about to go: new attempts only where no other endpoint can be picked; those in flight go on. Default false. */
  readonly draining?: boolean;
  /**
   * False: no new attempts, also if no other endpoint is left; those in flight go on. Unlike one that is no longer
   * named it stays in the snapshot, as draining. Default true.
   */
  readonly serving?: boolean;
  /** It speaks HTTP/2 on connections without TLS (h2c), whatever `http2` says. No effect with TLS, and for gRPC. */
  readonly http2?: boolean;
  readonly metadata?: Readonly<Record<string, string>>;
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
