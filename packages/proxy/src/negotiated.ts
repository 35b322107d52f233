/**
 * The way to an endpoint of a service with `http2: true` over TLS: HTTP/2 where the endpoint chooses it by ALPN, else
 * HTTP/1.1, which is remembered for a while. Its attempts go to the pool of what is spoken there.
 */
import { protocolMismatch, type MeshError, type Runtime } from "@inmesh/core/spi";
import type { Exchange } from "./exchange.ts";
import type { Http1Pool } from "./http1/pool.ts";
import type { Http2UpstreamPool } from "./http2/pool.ts";
import type { UpstreamPool } from "./upstream.ts";

/** As in packages/http: an endpoint may be replaced by one that does speak HTTP/2. */
const REMEMBER_MS = 300_000;

export class NegotiatedPool implements UpstreamPool {
  readonly #http2: Http2UpstreamPool;
  readonly #openHttp1: () => Http1Pool;
  readonly #runtime: Runtime;
  #http1: Http1Pool | undefined = undefined;
  #http1Until = 0;
  /** Those of before, which end with what is in flight. */
  readonly #former = new Set<Http1Pool>();
  #isClosed = false;
  #closing: Promise<void> | undefined = undefined;

  /** `openHttp2`: its pool gives to `fallBack` what waits when TLS agrees on something else. */
  constructor(
    openHttp2: (fallBack: (waiting: readonly Exchange[]) => void) => Http2UpstreamPool,
    openHttp1: () => Http1Pool,
    runtime: Runtime,
  ) {
    this.#openHttp1 = openHttp1;
    this.#runtime = runtime;
    this.#http2 = openHttp2((waiting) => this.#fallBack(waiting));
  }

  dispatch(exchange: Exchange): void {
    const http1 = this.#http1;
    if (http1 !== undefined) {
      if (this.#isClosed || this.#runtime.now() < this.#http1Until) {
        return this.#dispatch1(exchange, http1);
      }
      this.#retire(http1);
    }
    this.#http2.dispatch(exchange);
  }

  #fallBack(waiting: readonly Exchange[]): void {
    this.#http1 ??= this.#openHttp1();
    this.#http1Until = this.#runtime.now() + REMEMBER_MS;
    for (const exchange of waiting) this.#dispatch1(exchange, this.#http1);
  }

  #dispatch1(exchange: Exchange, http1: Http1Pool): void {
    // gRPC cannot be said in HTTP/1.1.
    if (!exchange.request.isGrpc) http1.dispatch(exchange);
    else exchange.fail(protocolMismatch(this.#http2.where, "TLS did not agree on HTTP/2"));
  }

  #retire(http1: Http1Pool): void {
    this.#http1 = undefined;
    this.#former.add(http1);
    void http1.close().then(() => this.#former.delete(http1));
  }

  get #pools1(): readonly Http1Pool[] {
    return this.#http1 === undefined ? [...this.#former] : [this.#http1, ...this.#former];
  }

  get open(): number {
    return this.#pools1.reduce((sum, pool) => sum + pool.open, this.#http2.open);
  }

  get queued(): number {
    return this.#pools1.reduce((sum, pool) => sum + pool.queued, this.#http2.queued);
  }

  get application(): string | undefined {
    return this.#http2.application ?? this.#http1?.application;
  }

  probe(): Promise<boolean> {
    return (this.#http1 ?? this.#http2).probe();
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#isClosed = true;
    // What waits there may still have to come to HTTP/1.1.
    await this.#http2.close();
    await Promise.all(this.#pools1.map((pool) => pool.close()));
  }

  destroy(error: MeshError): void {
    this.#isClosed = true;
    this.#http2.destroy(error);
    for (const pool of this.#pools1) pool.destroy(error);
  }
}
