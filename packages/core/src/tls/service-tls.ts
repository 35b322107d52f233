/**
 * The identity of one service that is called, and the context that its connections are made with: the last
 * good one, or, before there is any, one that dials nothing and says why.
 */
import type { Reply } from "../call.ts";
import type { ServiceConfig } from "../config/types.ts";
import type { EndpointInfo } from "../endpoint-info.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Connection, Transport } from "../transport.ts";
import { TlsContext } from "./context.ts";
import type { IdentityFollower, IdentityUser } from "./follow.ts";
import { Identities } from "./identities.ts";
import type { TlsPem } from "./pem.ts";

/** A transport whose connections share the certificates of their service, where it has TLS. */
export function transportWithTls<Req, Res extends Reply>(
  service: ServiceConfig,
  runtime: Runtime,
  identities: Identities | undefined,
  connect: (endpoint: EndpointInfo, tls: ServiceTls | undefined) => Connection<Req, Res>,
): Transport<Req, Res> {
  const tls = service.scheme === "https" ? new ServiceTls(service, runtime, identities) : undefined;
  return {
    connect: (endpoint) => connect(endpoint, tls),
    get problem() {
      return tls?.problem;
    },
    get ready() {
      return tls?.ready;
    },
  };
}

export class ServiceTls implements IdentityUser {
  /** In force. Set while there are users. */
  context!: TlsContext;
  readonly drainGraceMs: number;
  readonly #service: ServiceConfig;
  readonly #follower: IdentityFollower;
  readonly #users = new Set<() => void>();
  #stop: (() => void) | undefined = undefined;

  /** `identities`: of its mesh. Default: there are files alone. */
  constructor(service: ServiceConfig, runtime: Runtime, identities?: Identities) {
    this.#service = service;
    this.drainGraceMs = service.drainGraceMs;
    this.#follower = (identities ?? new Identities([], runtime)).of(service.tls, service.name);
  }

  /** Why what the source says is not used; undefined: it is. */
  get problem(): string | undefined {
    return this.#follower.problem;
  }

  /** Resolves when a source from outside has answered; undefined: it has. Files never have to be waited for. */
  get ready(): Promise<void> | undefined {
    return this.#service.tls.identity === "files" ? undefined : this.#follower.ready;
  }

  /** Starts following with the first user. `onChange`: make new connections. Call what it returns once. */
  use(onChange: () => void): () => void {
    if (this.#users.size === 0) this.#stop = this.#follower.use(this);
    if (this.#follower.pem === undefined) {
      this.context = TlsContext.missing(this.#service, this.problem);
    }
    this.#users.add(onChange);
    return () => {
      if (!this.#users.delete(onChange) || this.#users.size > 0) return;
      this.#stop?.();
      this.#stop = undefined;
    };
  }

  take(pem: TlsPem): void {
    this.context = new TlsContext(this.#service, pem, this.#follower.source);
  }

  renew(): void {
    for (const changed of this.#users) changed();
  }
}
