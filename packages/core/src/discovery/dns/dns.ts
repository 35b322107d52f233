/**
 * Endpoints from DNS: the A and AAAA records of a host, or SRV records. This file is the policy:
 * when to ask again, and what to believe. Asking is the resolver's work.
 *
 * - An error keeps the last good set for as long as it lasts (faults.md D1).
 * - "There are none" is believed after it has held for 30 s: a zone that is reloaded, or a record
 *   that a controller replaces, looks just like that for a moment (D2).
 */
import { isIP } from "node:net";
import type { Runtime, Timer } from "../../runtime/runtime.ts";
import type { Discovery, EndpointSink, EndpointWatch } from "../discovery.ts";
import { addressOf, type EndpointInfo } from "../../endpoint-info.ts";
import { normalAddress } from "./address.ts";
import { DnsError } from "./dns-error.ts";
import { clampTtl, type Resolver, type SrvRecord, StubResolver } from "./resolver.ts";
import { errorOf } from "../../errors.ts";
import { staticDiscovery } from "../static/static.ts";

export { measuredResolver } from "./measured.ts";

export type DnsTarget =
  /** A and AAAA records of `host`. */
  | { readonly kind: "dns"; readonly host: string; readonly port: number }
  /** SRV records of `name`. */
  | { readonly kind: "srv"; readonly name: string };

export interface DnsDiscoveryOptions {
  readonly runtime: Runtime;
  /** Pass one to all sources, so that they share its cache. Default: one of its own. */
  readonly resolver?: Resolver;
  /** How long "there are none" must hold before it is believed. Default 30000. */
  readonly holdDownMs?: number;
  /** Called with the number of records beyond `maxRecords` that an answer had. */
  readonly onExcess?: (records: number) => void;
  /** Endpoints taken from one answer. Default 1000. */
  readonly maxRecords?: number;
}

const LOOKUP_TIMEOUT_MS = 5000;
const REFRESH_GAP_MS = 1000;
const BACKOFF_BASE_MS = 1000;
const BACKOFF_MAX_MS = 30_000;
/** A full jitter near 0 would be no pause at all. */
const BACKOFF_MIN_MS = 100;
/** SRV targets that came without addresses are asked for this many at a time. */
const TARGETS_AT_ONCE = 16;

export function dnsDiscovery(target: DnsTarget, options: DnsDiscoveryOptions): Discovery {
  const literal = target.kind === "dns" ? normalAddress(target.host) : undefined;
  if (literal !== undefined && target.kind === "dns") {
    return { ...staticDiscovery([{ host: literal, port: target.port }]), source: "dns" };
  }
  const resolver = options.resolver ?? new StubResolver(options.runtime);
  return {
    source: "dns",
    watch: (sink: EndpointSink): EndpointWatch => new DnsWatch(target, sink, resolver, options),
  };
}

interface Answer {
  readonly endpoints: readonly EndpointInfo[];
  readonly ttlMs: number;
  /** How it is known that there are none. */
  readonly why: string | undefined;
}

class DnsWatch implements EndpointWatch {
  readonly #target: DnsTarget;
  readonly #sink: EndpointSink;
  readonly #resolver: Resolver;
  readonly #runtime: Runtime;
  readonly #options: DnsDiscoveryOptions;
  readonly #holdDownMs: number;
  #stopped = false;
  #timer: Timer | undefined = undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  /** Set while a lookup is under way. */
  #asking: AbortController | undefined = undefined;
  #askedAt = Number.NEGATIVE_INFINITY;
  /** Errors in a row. */
  #failures = 0;
  /** The sink holds a set that is not empty. */
  #hasSet = false;
  /** Since when the answer is "there are none"; an error in between is no news. */
  #emptySince: number | undefined = undefined;
  /** The last good addresses of SRV targets: one that cannot be looked up keeps its own. */
  #targets = new Map<string, readonly string[]>();

  constructor(
    target: DnsTarget,
    sink: EndpointSink,
    resolver: Resolver,
    options: DnsDiscoveryOptions,
  ) {
    this.#target = target;
    this.#sink = sink;
    this.#resolver = resolver;
    this.#options = options;
    this.#runtime = options.runtime;
    this.#holdDownMs = options.holdDownMs ?? 30_000;
    this.#ask(false);
  }

  refresh(): void {
    if (this.#stopped || this.#asking !== undefined) return;
    const now = this.#runtime.now();
    const at = Math.max(now, this.#askedAt + REFRESH_GAP_MS);
    if (at < this.#timerAt) this.#askIn(at - now);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#asking?.abort();
  }

  #askIn(delayMs: number): void {
    this.#timer?.cancel();
    this.#timerAt = this.#runtime.now() + delayMs;
    this.#timer = this.#runtime.after(delayMs, (self: DnsWatch) => self.#ask(true), this);
  }

  #ask(fresh: boolean): void {
    this.#timerAt = Number.POSITIVE_INFINITY;
    this.#askedAt = this.#runtime.now();
    const asking = new AbortController();
    this.#asking = asking;
    // A resolver may be the application's: the bound does not rely on it, nor on its heeding the signal.
    const bound = this.#runtime.after(
      LOOKUP_TIMEOUT_MS,
      () => {
        this.#failed(asking, new DnsError("timeout", `dns: no answer for ${this.#name()} in time`));
        asking.abort();
      },
      undefined,
    );
    const answer = this.#lookup(fresh, asking.signal);
    answer
      .finally(() => bound.cancel())
      .then(
        (value) => this.#answered(asking, value),
        (error: unknown) => this.#failed(asking, error),
      )
      // What a sink throws is its own fault, and must not become an unhandled rejection. The next
      // question is scheduled before the sink is called, so the watch goes on.
      .catch(() => {});
  }

  #answered(asking: AbortController, { endpoints, ttlMs, why }: Answer): void {
    if (this.#stopped || this.#asking !== asking) return;
    this.#asking = undefined;
    this.#failures = 0;
    // Before the TTL ends, so that the set is never without a valid answer; jittered, so that
    // processes started together do not ask together.
    const delayMs = clampTtl(ttlMs) * (0.8 + 0.2 * this.#runtime.random());
    if (endpoints.length > 0 || !this.#hasSet) {
      this.#emptySince = undefined;
      this.#hasSet = endpoints.length > 0;
      this.#askIn(delayMs);
      this.#sink.replace(endpoints, why);
      return;
    }
    const now = this.#runtime.now();
    this.#emptySince ??= now;
    const holdMs = this.#emptySince + this.#holdDownMs - now;
    if (holdMs > 0) {
      this.#askIn(Math.min(delayMs, holdMs));
      return;
    }
    this.#emptySince = undefined;
    this.#hasSet = false;
    this.#askIn(delayMs);
    this.#sink.replace([], why);
  }

  #failed(asking: AbortController, error: unknown): void {
    if (this.#stopped || this.#asking !== asking) return;
    this.#asking = undefined;
    const ceilingMs = Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** Math.min(this.#failures, 10));
    this.#failures++;
    this.#askIn(Math.max(BACKOFF_MIN_MS, this.#runtime.random() * ceilingMs));
    this.#sink.failed(errorOf(error));
  }

  #name(): string {
    return this.#target.kind === "dns" ? this.#target.host : this.#target.name;
  }

  async #lookup(fresh: boolean, signal: AbortSignal): Promise<Answer> {
    const target = this.#target;
    if (target.kind === "srv") return this.#lookupServices(target.name, fresh, signal);
    const answer = await this.#resolver.addresses(target.host, { fresh, signal });
    const { addresses, ttlMs, why } = answer;
    const endpoints = addresses.map((host) => ({ host, port: target.port }));
    return { endpoints: this.#bounded(endpoints), ttlMs, why };
  }

  async #lookupServices(name: string, fresh: boolean, signal: AbortSignal): Promise<Answer> {
    const answer = await this.#resolver.services(name, { fresh, signal });
    const group = lowestPriority(answer.services, this.#options.maxRecords ?? 1000);
    const known = new Map<string, readonly string[]>();
    const unknown: string[] = [];
    for (const { target, addresses } of group) {
      if (known.has(target)) continue;
      const literal = isIP(target) === 0 ? undefined : target;
      known.set(target, literal === undefined ? addresses : [literal]);
      if (literal === undefined && addresses.length === 0) unknown.push(target);
    }
    let ttlMs = answer.ttlMs;
    let error: unknown;
    const worker = async (): Promise<void> => {
      for (let next = unknown.pop(); next !== undefined; next = unknown.pop()) {
        if (signal.aborted) return;
        try {
          const found = await this.#resolver.addresses(`${next}.`, { fresh, signal });
          known.set(next, found.addresses);
          ttlMs = Math.min(ttlMs, found.ttlMs);
        } catch (reason) {
          error ??= reason;
          known.set(next, this.#targets.get(next) ?? []);
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(TARGETS_AT_ONCE, unknown.length) }, worker));
    const endpoints = this.#bounded(weigh(group, known));
    // Nothing at all, and not for sure: that is an error, not "there are none".
    if (endpoints.length === 0 && error !== undefined) throw error;
    if (!signal.aborted) this.#targets = known;
    return { endpoints, ttlMs, why: answer.why };
  }

  /** Each address once, in a fixed order: servers rotate records, and a cut must not rotate. */
  #bounded(endpoints: readonly EndpointInfo[]): readonly EndpointInfo[] {
    const max = this.#options.maxRecords ?? 1000;
    const byAddress = new Map<string, EndpointInfo>();
    for (const info of endpoints) {
      const host = normalAddress(info.host);
      if (host === undefined) continue;
      const own = host === info.host ? info : { ...info, host };
      const key = addressOf(own);
      if (!byAddress.has(key)) byAddress.set(key, own);
    }
    const sorted = [...byAddress].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, info]) => info);
    if (sorted.length <= max) return sorted;
    this.#options.onExcess?.(sorted.length - max);
    return sorted.slice(0, max);
  }
}

/** The usable records of the lowest priority, each target and port once, at most `max`. */
function lowestPriority(records: readonly SrvRecord[], max: number): readonly SrvRecord[] {
  const usable = records.filter(({ target, port }) => target !== "" && target !== "." && port > 0);
  const lowest = usable.reduce((least, { priority }) => Math.min(least, priority), 65535);
  const group = new Map<string, SrvRecord>();
  for (const record of usable) {
    if (record.priority !== lowest) continue;
    const key = `${record.target}:${record.port}`;
    if (!group.has(key)) group.set(key, record);
  }
  return [...group]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .slice(0, max)
    .map(([, record]) => record);
}

/**
 * A record's weight is its target's share: several addresses divide it. All weights 0 means equal
 * (RFC 2782, the normal case; faults.md D15).
 */
function weigh(
  group: readonly SrvRecord[],
  addresses: ReadonlyMap<string, readonly string[]>,
): readonly EndpointInfo[] {
  const equal = group.every(({ weight }) => weight === 0);
  const byAddress = new Map<string, EndpointInfo & { weight: number }>();
  for (const { target, port, weight } of group) {
    const hosts = addresses.get(target) ?? [];
    for (const host of hosts) {
      const share = (equal ? 1 : weight) / hosts.length;
      const known = byAddress.get(`${host} ${port}`);
      if (known !== undefined) known.weight += share;
      else byAddress.set(`${host} ${port}`, { host, port, weight: share });
    }
  }
  return [...byAddress.values()];
}
