/**
 * What the system says about names: resolv.conf and the hosts file, parsed and re-read when they
 * change. Reads are synchronous on purpose: asynchronous ones run in libuv's thread pool, and a
 * host that starves the pool must not stall lookups (faults.md D21). The files are small and are
 * looked at once a second at most.
 */
import { getServers } from "node:dns";
import { readFileSync, statSync } from "node:fs";
import { isIP } from "node:net";
import type { Runtime } from "../../runtime/runtime.ts";
import { normalAddress } from "./address.ts";

export interface NameServer {
  /** An IP literal. */
  readonly host: string;
  readonly port: number;
}

export interface ResolvConf {
  readonly servers: readonly NameServer[];
  readonly search: readonly string[];
  /** A name with at least this many dots is tried as it is before the search list. Default 1. */
  readonly ndots: number;
  /** How long one server may take. Default 5000. */
  readonly timeoutMs: number;
  /** Rounds over all servers. Default 2. */
  readonly attempts: number;
}

/** glibc's limits. More servers would leave too little time for each within one lookup. */
const MAX_SERVERS = 3;
const MAX_SEARCH = 32;

/** Parses resolv.conf; `undefined` when it names no server (a file that is half written). */
export function parseResolvConf(text: string): ResolvConf | undefined {
  const servers: NameServer[] = [];
  let search: string[] = [];
  let ndots = 1;
  let timeoutS = 5;
  let attempts = 2;
  for (const line of text.split("\n")) {
    const [keyword, ...words] = line
      .split(/[#;]\s/, 1)[0]!
      .trim()
      .split(/\s+/);
    if (keyword === "nameserver") {
      const server = parseServer(words[0] ?? "");
      if (server !== undefined && servers.length < MAX_SERVERS) servers.push(server);
    } else if (keyword === "search" || keyword === "domain") {
      search = words
        .map((word) => word.replace(/\.$/, ""))
        .filter((word) => word !== "")
        .slice(0, MAX_SEARCH);
    } else if (keyword === "options") {
      for (const word of words) {
        const [name, value] = word.split(":", 2);
        const number = Number(value);
        if (value === undefined || !Number.isInteger(number) || number < 0) continue;
        if (name === "ndots") ndots = Math.min(number, 15);
        else if (name === "timeout") timeoutS = Math.min(Math.max(number, 1), 30);
        else if (name === "attempts") attempts = Math.min(Math.max(number, 1), 5);
      }
    }
  }
  if (servers.length === 0) return undefined;
  return { servers, search, ndots, timeoutMs: timeoutS * 1000, attempts };
}

/** `ip`, `ip#port` or `[ip]:port`. */
function parseServer(text: string): NameServer | undefined {
  const [, host, port] = /^\[(.+)\]:(\d+)$/.exec(text) ??
    /^(.+)#(\d+)$/.exec(text) ?? [text, text, "53"];
  const number = Number(port);
  if (host === undefined || isIP(host) === 0 || number < 1 || number > 65535) return undefined;
  return { host, port: number };
}

/** Used where there is no resolv.conf: what Node found out about the platform. */
export function platformConf(): ResolvConf {
  const servers = getServers()
    .map((text) => parseServer(text) ?? { host: "127.0.0.1", port: 53 })
    .slice(0, MAX_SERVERS);
  if (servers.length === 0) servers.push({ host: "127.0.0.1", port: 53 });
  return { servers, search: [], ndots: 1, timeoutMs: 5000, attempts: 2 };
}

/** Parses the hosts file: addresses by lower-case name. */
export function parseHosts(text: string): ReadonlyMap<string, readonly string[]> {
  const byName = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    const [first, ...names] = line.split("#", 1)[0]!.trim().split(/\s+/);
    const address = normalAddress(first ?? "");
    if (address === undefined) continue;
    for (const raw of names) {
      const name = raw.toLowerCase();
      const known = byName.get(name);
      if (known === undefined) byName.set(name, [address]);
      else if (!known.includes(address)) known.push(address);
    }
  }
  return byName;
}

/** The parsed content of a file, parsed again when the file changes. */
export class FileValue<T> {
  readonly #runtime: Runtime;
  readonly #path: string;
  readonly #parse: (text: string) => T | undefined;
  readonly #missing: () => T;
  readonly #recheckMs: number;
  #value: T | undefined = undefined;
  #stamp = "";
  #checkedAt = Number.NEGATIVE_INFINITY;

  /** `missing` gives the value while the file was never readable. */
  constructor(
    runtime: Runtime,
    path: string,
    parse: (text: string) => T | undefined,
    missing: () => T,
    recheckMs: number,
  ) {
    this.#runtime = runtime;
    this.#path = path;
    this.#parse = parse;
    this.#missing = missing;
    this.#recheckMs = recheckMs;
  }

  /** The same object as long as the file did not change. Never throws. */
  get(): T {
    const now = this.#runtime.now();
    if (now - this.#checkedAt >= this.#recheckMs) {
      this.#checkedAt = now;
      this.#load();
    }
    return (this.#value ??= this.#missing());
  }

  #load(): void {
    try {
      const { mtimeMs, size, ino } = statSync(this.#path);
      const stamp = `${mtimeMs} ${size} ${ino}`;
      if (stamp === this.#stamp) return;
      const value = this.#parse(readFileSync(this.#path, "utf8"));
      this.#stamp = stamp;
      if (value !== undefined) this.#value = value;
    } catch {
      // Gone or unreadable: what was read before stays in use. A rename replaces it in a moment.
    }
  }
}
