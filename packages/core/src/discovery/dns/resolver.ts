/**
 * A stub resolver. Node's own gives no TTL for SRV records, and its `lookup` is getaddrinfo in
 * libuv's thread pool, without TTL and stalled by a busy host (faults.md D21). This one follows
 * resolv.conf and the hosts file, caches by TTL and shares identical questions.
 */
import { domainToASCII } from "node:url";
import type { Runtime } from "../../runtime/runtime.ts";
import { type Found, MAX_ALIASES, readAnswer, type SrvRecord } from "./answer.ts";
import { DnsError } from "./dns-error.ts";
import { exchange, plainName, type QueryType, responseCode } from "./exchange.ts";
import { Expiring } from "./expiring.ts";
import { BADVERS, FORMERR, NOERROR, NXDOMAIN, rcodeName, REFUSED } from "./rcode.ts";
import {
  FileValue,
  type NameServer,
  parseHosts,
  parseResolvConf,
  platformConf,
  type ResolvConf,
} from "./system-files.ts";

export type { SrvRecord } from "./answer.ts";

/** TTLs below are raised: there is no gain in asking more often (faults.md D3). */
export const MIN_TTL_MS = 5000;
/** TTLs above are lowered: a year is a mistake more often than a promise. */
export const MAX_TTL_MS = 300_000;

export interface AddressAnswer {
  /** IP literals, each once. Empty: the servers say that there are none. */
  readonly addresses: readonly string[];
  /** How long the answer may still be used. */
  readonly ttlMs: number;
  /** For people: how it is known that there are none. */
  readonly why?: string;
}

export interface ServiceAnswer {
  /** Empty: the servers say that there are none. */
  readonly services: readonly SrvRecord[];
  readonly ttlMs: number;
  /** As for addresses. */
  readonly why?: string;
}

export interface LookupOptions {
  /** Do not answer from what is older than a second. Default false. */
  readonly fresh?: boolean;
  readonly signal?: AbortSignal;
}

/** Rejects when it cannot find out; "there are none" is an answer. */
export interface Resolver {
  /** A and AAAA records. A trailing dot makes the name absolute. */
  addresses(name: string, options?: LookupOptions): Promise<AddressAnswer>;
  services(name: string, options?: LookupOptions): Promise<ServiceAnswer>;
}

export interface StubResolverOptions {
  /** Default `/etc/resolv.conf`. */
  readonly resolvConfPath?: string;
  /** Default `/etc/hosts`. */
  readonly hostsPath?: string;
  /** The whole lookup: search list, servers, attempts, aliases. Default 5000. */
  readonly lookupTimeoutMs?: number;
  /** Upper bound of one try at one server, whatever resolv.conf says. Default 2000. */
  readonly tryTimeoutMs?: number;
  /** Once one address family is there, the other gets this much longer. Default 1000. */
  readonly familyGraceMs?: number;
  /** The files are checked for changes this often at most. Default 1000. */
  readonly recheckMs?: number;
  /** Answers kept. Default 1000. */
  readonly maxAnswers?: number;
}

const FRESH_MS = 1000;
/** 253 characters and the trailing dot, as they go over the wire. */
const MAX_NAME = 253;

interface Entry {
  readonly found: Found;
  /** The server that gave the last of these answers. */
  readonly server: NameServer;
  readonly ttlMs: number;
  readonly at: number;
}

/** One question under way, shared by all who ask it. */
interface Flight {
  readonly promise: Promise<Entry>;
  readonly controller: AbortController;
  waiters: number;
}

/** What one candidate of a search says: entries, and the error of what could not be found out. */
interface Asked {
  readonly entries: readonly Entry[];
  readonly error: unknown;
}

type Asking = (candidate: string, lookup: Lookup) => Promise<Asked>;

interface Answered {
  /** With records; empty if there are none. */
  readonly entries: readonly Entry[];
  readonly ttlMs: number;
  readonly why: { readonly why: string } | undefined;
}

interface Lookup {
  readonly conf: ResolvConf;
  readonly deadline: number;
  readonly fresh: boolean;
  readonly signal: AbortSignal | undefined;
}

export class StubResolver implements Resolver {
  readonly #runtime: Runtime;
  readonly #conf: FileValue<ResolvConf>;
  readonly #hosts: FileValue<ReadonlyMap<string, readonly string[]>>;
  readonly #lookupTimeoutMs: number;
  readonly #tryTimeoutMs: number;
  readonly #familyGraceMs: number;
  readonly #cache: Expiring<Entry>;
  readonly #flights = new Map<string, Flight>();
  /** Which candidate had records, by name as it was asked for. */
  readonly #winners: Expiring<string>;
  #cacheOf: ResolvConf | undefined = undefined;

  constructor(runtime: Runtime, options: StubResolverOptions = {}) {
    const recheckMs = options.recheckMs ?? 1000;
    const resolvConfPath = options.resolvConfPath ?? "/etc/resolv.conf";
    this.#runtime = runtime;
    this.#conf = new FileValue(runtime, resolvConfPath, parseResolvConf, platformConf, recheckMs);
    this.#hosts = new FileValue<ReadonlyMap<string, readonly string[]>>(
      runtime,
      options.hostsPath ?? "/etc/hosts",
      parseHosts,
      () => new Map(),
      recheckMs,
    );
    this.#lookupTimeoutMs = options.lookupTimeoutMs ?? 5000;
    this.#tryTimeoutMs = options.tryTimeoutMs ?? 2000;
    this.#familyGraceMs = options.familyGraceMs ?? 1000;
    const maxAnswers = options.maxAnswers ?? 1000;
    this.#cache = new Expiring(maxAnswers, runtime);
    this.#winners = new Expiring(maxAnswers, runtime);
  }

  async addresses(name: string, options: LookupOptions = {}): Promise<AddressAnswer> {
    const plain = plainName(name);
    const local = this.#hosts.get().get(plain) ?? loopback(plain);
    if (local !== undefined) return { addresses: local, ttlMs: MIN_TTL_MS };
    const { entries, ttlMs, why } = await this.#search(plain, name, options, (candidate, lookup) =>
      this.#bothFamilies(candidate, lookup),
    );
    const addresses = new Set<string>();
    for (const entry of entries) {
      for (const address of entry.found.addresses) addresses.add(address);
    }
    return { addresses: [...addresses], ttlMs, ...why };
  }

  async services(name: string, options: LookupOptions = {}): Promise<ServiceAnswer> {
    const { entries, ttlMs, why } = await this.#search(
      `SRV ${plainName(name)}`,
      name,
      options,
      (candidate, lookup) =>
        this.#shared(candidate, "SRV", lookup).then(
          (entry) => ({ entries: [entry], error: undefined }),
          (error: unknown) => ({ entries: [], error }),
        ),
    );
    return { services: entries[0]?.found.services ?? [], ttlMs, ...why };
  }

  /**
   * The first candidate that has records wins. One whose server fails or refuses is passed over, as the
   * system's own resolver does: a search domain that is not served any more must not hide the others. Its
   * failure is the result if no other has records, because then it is not known that there are none.
   *
   * Not passed over is the candidate that had records within the last five minutes: what the next one
   * names may belong to another service, and no news is better than wrong news. Neither is one whose
   * servers are silent: the others have the same servers, and the time is the same.
   */
  async #search(key: string, name: string, options: LookupOptions, ask: Asking): Promise<Answered> {
    const lookup = this.#begin(options);
    const last = this.#winners.get(key);
    let ttlMs = MAX_TTL_MS;
    let failure: unknown;
    let none: Entry | undefined;
    for (const candidate of candidates(name, lookup.conf)) {
      const { entries, error } = await ask(candidate, lookup);
      const having = entries.filter(
        ({ found }) => found.addresses.length + found.services.length > 0,
      );
      if (having.length > 0) {
        this.#winners.set(key, candidate, MAX_TTL_MS);
        const leftMs = having.map((entry) => this.#leftMs(entry));
        return { entries: having, ttlMs: Math.min(MAX_TTL_MS, ...leftMs), why: undefined };
      }
      if (error !== undefined) {
        if (candidate === last || !isServerFailure(error)) throw failure ?? error;
        failure ??= error;
      }
      for (const entry of entries) {
        ttlMs = Math.min(ttlMs, this.#leftMs(entry));
        // A name that exists without records of this kind says more than one that does not exist.
        if (none === undefined || !entry.found.nxdomain) none = entry;
      }
    }
    if (failure !== undefined) throw failure;
    return { entries: [], ttlMs, why: none && { why: absence(name, none) } };
  }

  #begin(options: LookupOptions): Lookup {
    const conf = this.#conf.get();
    // Other servers may have other answers.
    if (conf !== this.#cacheOf) {
      this.#cache.clear();
      this.#winners.clear();
    }
    this.#cacheOf = conf;
    return {
      conf,
      deadline: this.#runtime.now() + this.#lookupTimeoutMs,
      fresh: options.fresh === true,
      signal: options.signal,
    };
  }

  #leftMs(entry: Entry): number {
    return Math.max(0, entry.at + entry.ttlMs - this.#runtime.now());
  }

  /**
   * What A and AAAA say. A family that fails does not spoil the other, and one that is slow delays
   * it by the grace only: some servers never answer AAAA.
   */
  #bothFamilies(name: string, lookup: Lookup): Promise<Asked> {
    return new Promise((resolve) => {
      const entries: Entry[] = [];
      const rest = new AbortController();
      const stop = (): void => rest.abort();
      lookup.signal?.addEventListener("abort", stop);
      if (lookup.signal?.aborted === true) rest.abort();
      let error: unknown;
      let open = 2;
      let grace: { cancel(): void } | undefined;
      const ended = (): void => {
        if (--open > 0) return;
        grace?.cancel();
        lookup.signal?.removeEventListener("abort", stop);
        resolve({ entries, error });
      };
      for (const type of ["A", "AAAA"] as const) {
        this.#shared(name, type, { ...lookup, signal: rest.signal }).then(
          (entry) => {
            entries.push(entry);
            if (open === 2 && entry.found.addresses.length > 0) {
              grace = this.#runtime.after(this.#familyGraceMs, stop, undefined);
            }
            ended();
          },
          (reason: unknown) => {
            error ??= reason;
            ended();
          },
        );
      }
    });
  }

  /** From the cache, or from the flight that is under way, or by asking. */
  #shared(name: string, type: QueryType, lookup: Lookup): Promise<Entry> {
    const key = `${type} ${name}`;
    const known = this.#cache.get(key);
    if (known !== undefined) {
      if (!lookup.fresh || this.#runtime.now() - known.at < FRESH_MS) return Promise.resolve(known);
    }
    let flight = this.#flights.get(key);
    if (flight === undefined) {
      const controller = new AbortController();
      const promise = this.#resolve(name, type, lookup, controller.signal).then((entry) => {
        // Not if the configuration changed meanwhile: the cache then belongs to other servers.
        if (this.#cacheOf === lookup.conf) this.#cache.set(key, entry, entry.ttlMs);
        return entry;
      });
      const begun: Flight = { promise, controller, waiters: 0 };
      flight = begun;
      this.#flights.set(key, begun);
      const over = (): void => {
        if (this.#flights.get(key) === begun) this.#flights.delete(key);
      };
      promise.then(over, over);
    }
    return this.#join(key, flight, lookup.signal);
  }

  /** A question that no caller waits for any more is called off, and its sockets closed. */
  #join(key: string, flight: Flight, signal: AbortSignal | undefined): Promise<Entry> {
    flight.waiters++;
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        signal?.removeEventListener("abort", leave);
        reject(new DnsError("cancelled", `dns ${key}: cancelled`));
        if (--flight.waiters > 0) return;
        if (this.#flights.get(key) === flight) this.#flights.delete(key);
        flight.controller.abort();
      };
      if (signal?.aborted === true) return leave();
      signal?.addEventListener("abort", leave);
      flight.promise.then(
        (entry) => {
          signal?.removeEventListener("abort", leave);
          resolve(entry);
        },
        (error: unknown) => {
          signal?.removeEventListener("abort", leave);
          reject(error);
        },
      );
    });
  }

  /** Follows aliases across replies. */
  async #resolve(
    name: string,
    type: QueryType,
    lookup: Lookup,
    signal: AbortSignal,
  ): Promise<Entry> {
    let ttlS = Number.POSITIVE_INFINITY;
    let hops = 0;
    for (let owner = name; ;) {
      const { found, server } = await this.#ask(owner, type, lookup, signal);
      ttlS = Math.min(ttlS, found.ttlS);
      hops += found.hops;
      if (hops > MAX_ALIASES) {
        throw new DnsError("malformed", `dns ${type} ${name}: more than ${MAX_ALIASES} aliases`);
      }
      if (found.alias === undefined) {
        return { found, server, ttlMs: clampTtl(ttlS * 1000), at: this.#runtime.now() };
      }
      owner = found.alias;
    }
  }

  /** Server after server, round after round, until one gives an answer. */
  async #ask(
    name: string,
    type: QueryType,
    lookup: Lookup,
    signal: AbortSignal,
  ): Promise<{ found: Found; server: NameServer }> {
    const { conf, deadline } = lookup;
    let servers = conf.servers;
    let error: unknown;
    for (let round = 0; round < conf.attempts && servers.length > 0; round++) {
      const again: NameServer[] = [];
      for (const [index, server] of servers.entries()) {
        const leftMs = deadline - this.#runtime.now();
        if (leftMs <= 0) throw error ?? new DnsError("timeout", `dns ${type} ${name}: out of time`);
        // A share of what is left, so that a silent server leaves time for the others.
        const tries = (conf.attempts - round) * servers.length - index;
        const timeoutMs = Math.min(conf.timeoutMs, this.#tryTimeoutMs, leftMs / tries);
        try {
          const ask = { server, name, type, timeoutMs, edns: true, signal };
          return { found: await this.#askOne(ask), server };
        } catch (reason) {
          if (signal.aborted) throw reason;
          error = reason;
          // Who refused will refuse again; who was silent may have lost the packet.
          const silent = reason instanceof DnsError && reason.code !== "refused";
          if (silent && reason.code !== "servfail") again.push(server);
        }
      }
      servers = again;
    }
    throw error ?? new DnsError("timeout", `dns ${type} ${name}: no server answered`);
  }

  async #askOne(ask: Parameters<typeof exchange>[1]): Promise<Found> {
    let packet = await exchange(this.#runtime, ask);
    let code = responseCode(packet);
    if (code === FORMERR || code === BADVERS) {
      packet = await exchange(this.#runtime, { ...ask, edns: false });
      code = responseCode(packet);
    }
    if (code === NOERROR || code === NXDOMAIN) {
      return readAnswer(packet, ask.name, ask.type, textOf(ask.server));
    }
    const message = `dns ${ask.type} ${ask.name} → ${textOf(ask.server)}: ${rcodeName(code)}`;
    throw new DnsError(code === REFUSED ? "refused" : "servfail", message);
  }
}

function textOf({ host, port }: NameServer): string {
  return `${host}#${port}`;
}

function absence(name: string, { found, server }: Entry): string {
  return `dns ${plainName(name)} → ${textOf(server)}: ${found.nxdomain ? "NXDOMAIN" : "NODATA"}`;
}

/** A server answered that it cannot or will not say; no other server could. */
function isServerFailure(error: unknown): boolean {
  return error instanceof DnsError && (error.code === "servfail" || error.code === "refused");
}

/** Into 5 s … 300 s; what is no number counts as 0. */
export function clampTtl(ttlMs: number): number {
  return Math.min(MAX_TTL_MS, Math.max(MIN_TTL_MS, Number.isNaN(ttlMs) ? 0 : ttlMs));
}

/** RFC 6761: these never leave the machine. */
function loopback(name: string): readonly string[] | undefined {
  return name === "localhost" || name.endsWith(".localhost") ? ["127.0.0.1", "::1"] : undefined;
}

/** The absolute names to ask for, in order, without trailing dot. Throws for an unusable name. */
function candidates(name: string, conf: ResolvConf): readonly string[] {
  const ascii = /^[\x21-\x7e]+$/.test(name) ? name : domainToASCII(name);
  const own = plainName(ascii);
  if (!isUsable(own)) throw new DnsError("malformed", "dns: not a usable domain name");
  if (ascii.endsWith(".")) return [own];
  const searched = conf.search.map((domain) => plainName(`${own}.${domain}`)).filter(isUsable);
  const dots = own.split(".").length - 1;
  return [...new Set(dots >= conf.ndots ? [own, ...searched] : [...searched, own])];
}

function isUsable(name: string): boolean {
  return (
    name.length <= MAX_NAME && name.split(".").every((label) => label !== "" && label.length <= 63)
  );
}
