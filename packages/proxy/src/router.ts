/**
 * Which service a request goes to: the one of its listener, or the one whose name or authority the request's
 * authority is, by the rules of `mesh.fetch`. What is none of the configured services goes nowhere: a
 * client cannot reach through the proxy what the configuration does not name.
 */
import type { Mesh, MeshConfig } from "@inmesh/core/spi";
import type { ForwardProtocol, ForwardService, RequestRouter } from "./forward.ts";
import type { ProxyRequest } from "./request.ts";

/** Names that are shown to who asks for another one. */
const SHOWN_NAMES = 10;

export class FixedRouter implements RequestRouter {
  /** Every authority leads to it, so no one asks. */
  readonly known = "";
  readonly #open: () => ForwardService;
  #service: ForwardService | undefined = undefined;

  constructor(mesh: Mesh, name: string, protocol: ForwardProtocol) {
    this.#open = () => mesh.service(name, protocol);
  }

  serviceOf(): ForwardService {
    return (this.#service ??= this.#open());
  }
}

export class AuthorityRouter implements RequestRouter {
  readonly #mesh: Mesh;
  readonly #protocol: ForwardProtocol;
  #config: MeshConfig | undefined = undefined;
  /** Names of services by what their authority may be, in lower case. */
  readonly #names = new Map<string, string>();
  #lastAuthority = "";
  #last: ForwardService | undefined = undefined;

  constructor(mesh: Mesh, protocol: ForwardProtocol) {
    this.#mesh = mesh;
    this.#protocol = protocol;
  }

  serviceOf({ head: { authority } }: ProxyRequest): ForwardService | undefined {
    const { current } = this.#mesh.config;
    if (this.#config !== current) this.#read(current);
    if (authority === this.#lastAuthority) return this.#last;
    const found = this.#find(authority.toLowerCase());
    // Only now: where that throws, this authority must not get the service of the one before.
    this.#lastAuthority = authority;
    return (this.#last = found);
  }

  get known(): string {
    const names = Object.keys(this.#mesh.config.current.services);
    if (names.length === 0) return "none";
    const shown = names.slice(0, SHOWN_NAMES).join(", ");
    const more = names.length - SHOWN_NAMES;
    return more > 0 ? `${shown} and ${more} more` : shown;
  }

  #find(authority: string): ForwardService | undefined {
    // Port 80 is what no port means; another one has to be the service's own.
    const name =
      this.#names.get(authority) ??
      (authority.endsWith(":80") ? this.#names.get(authority.slice(0, -3)) : undefined);
    return name === undefined ? undefined : this.#mesh.service(name, this.#protocol);
  }

  #read({ services }: MeshConfig): void {
    this.#config = this.#mesh.config.current;
    this.#lastAuthority = "";
    this.#last = undefined;
    this.#names.clear();
    const all = Object.values(services);
    for (const { name } of all) this.#names.set(name.toLowerCase(), name);
    for (const { name, authority } of all) {
      const lower = authority.toLowerCase();
      if (!this.#names.has(lower)) this.#names.set(lower, name);
    }
  }
}
