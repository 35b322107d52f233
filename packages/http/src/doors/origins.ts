/**
 * Which origins lead into the mesh. A configured service is known by two:
 *
 *   http://<name>          whatever its scheme: the mesh may add TLS to it, never take it away;
 *   https://<name>         only if the service is https
 *   <scheme>://<authority> as on the wire
 *
 * A name goes before an authority; of several services with one authority the first configured has
 * it. Services that clients opened by URL are not configured: whether an origin passes through must
 * not depend on who called first.
 *
 * An origin that contradicts the scheme of a service is an error: passed on, what is meant for TLS
 * could go out in clear text, or past the mesh.
 */
import type { Mesh } from "@inmesh/core";
import { MeshError, schemeConflict, type MeshConfig, type Watch } from "@inmesh/core/spi";
import { HTTP } from "../client/protocol.ts";
import type { HttpService } from "../client/start.ts";

/** A text says why the origin is refused. */
type Found = HttpService | string | undefined;

/** Spellings that are remembered; beyond it they are all forgotten, and learnt again. */
const MAX_SPELLINGS = 1_000;

export class Origins {
  readonly #mesh: Mesh;
  readonly #configs: Watch<MeshConfig>;
  #config: MeshConfig | undefined = undefined;
  /** Names of services by origin, in the form that `URL.origin` has. */
  #names = new Map<string, string>();
  /** What was asked, spelled as it was: `undefined` passes through. */
  readonly #asked = new Map<unknown, Found>();
  #lastKey: string | undefined = undefined;
  #last: Found = undefined;

  constructor(mesh: Mesh) {
    this.#mesh = mesh;
    this.#configs = mesh.config;
  }

  /** Requests to this origin become calls of a service. */
  knows(origin: unknown): boolean {
    return typeof this.#look(origin) === "object";
  }

  /** Not ours, and in no contradiction to what is: it goes where it went without the mesh. */
  passes(origin: unknown): boolean {
    return this.#look(origin) === undefined;
  }

  /**
   * The service behind an origin; undefined if it is none of ours, or no origin at all. Throws a
   * MeshError (`bad_request`, `bad_target`) if the origin has another scheme than the service.
   */
  serviceOf(origin: unknown): HttpService | undefined {
    const found = this.#look(origin);
    if (typeof found !== "string") return found;
    throw new MeshError({
      code: "bad_request",
      reason: "bad_target",
      message: found,
      progress: "not-sent",
    });
  }

  #look(origin: unknown): Found {
    const { current } = this.#configs;
    if (this.#config !== current) this.#read(current);
    // A URL object can be changed after it was looked up: its text counts.
    const key = typeof origin === "string" ? origin : String(origin);
    // Callers build the text anew for every request: to compare it costs less than to hash it.
    if (key === this.#lastKey) return this.#last;
    const service = this.#find(key);
    this.#lastKey = key;
    this.#last = service;
    return service;
  }

  #find(key: string): Found {
    const service = this.#asked.get(key);
    if (service !== undefined || this.#asked.has(key)) return service;
    return this.#learn(key);
  }

  #learn(key: string): Found {
    const found = this.#resolve(key);
    if (this.#asked.size >= MAX_SPELLINGS) this.#asked.clear();
    this.#asked.set(key, found);
    return found;
  }

  #resolve(key: string): Found {
    if (!URL.canParse(key)) return undefined;
    const { origin, protocol, host } = new URL(key);
    const name = this.#names.get(origin);
    if (name !== undefined) return this.#mesh.service(name, HTTP);
    if (protocol !== "http:" && protocol !== "https:") return undefined;
    const scheme = protocol === "https:" ? "https" : "http";
    const rule = schemeConflict(
      { scheme, authority: host },
      Object.values(this.#configs.current.services),
    );
    return rule === undefined ? undefined : `${origin}: ${rule}`;
  }

  #read(config: MeshConfig): void {
    this.#config = config;
    this.#lastKey = undefined;
    this.#asked.clear();
    this.#names = new Map();
    const services = Object.values(config.services);
    for (const { name, scheme } of services) {
      this.#add("http", name, name);
      if (scheme === "https") this.#add("https", name, name);
    }
    for (const { name, scheme, authority } of services) this.#add(scheme, authority, name);
  }

  #add(scheme: "http" | "https", host: string, name: string): void {
    // A name such as `a/b` or `user@b` would be read as another host.
    const text = `${scheme}://${host}`;
    if (/[/?#@\\\s]/.test(host) || !URL.canParse(text)) return;
    const { origin } = new URL(text);
    if (!this.#names.has(origin)) this.#names.set(origin, name);
  }
}
