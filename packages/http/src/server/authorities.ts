/** The hosts that a server is, where its application or configuration names them: a request for another gets 421. */
import { isHost } from "./validate.ts";

export class Authorities {
  readonly #hosts: ReadonlySet<string>;
  /** The last one found in the list: nearly every request has the same. */
  #last: string | undefined = undefined;

  /** Undefined: any host. Throws a TypeError for a list that nothing can be in. `owner`: who was given it. */
  static of(owner: string, hosts: readonly string[] | undefined): Authorities | undefined {
    return hosts && new Authorities(owner, hosts);
  }

  private constructor(owner: string, hosts: readonly string[]) {
    if (hosts.length === 0) throw new TypeError(`${owner}: authorities is empty`);
    for (const one of hosts) {
      if (!isHost(one)) throw new TypeError(`${owner}: authorities: ${one} is no host[:port]`);
    }
    this.#hosts = new Set(hosts.map((one) => one.toLowerCase()));
  }

  /** `authority`: undefined or empty where the request names none (HTTP/1.0). */
  has(authority: string | undefined): boolean {
    if (authority === undefined || authority === "") return false;
    if (authority === this.#last) return true;
    const lower = authority.toLowerCase();
    if (!this.#hosts.has(lower) && !this.#hosts.has(lower.replace(/:\d+$/, ""))) return false;
    this.#last = authority;
    return true;
  }
}
