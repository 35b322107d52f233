/**
 * The way to an endpoint of a service with `http2: true` over TLS: HTTP/2 where the endpoint chooses it by ALPN, else
 * HTTP/1.1, which is remembered for a while. Its attempts go to the pool of what is spoken there.
 */
import type { MeshError, Runtime } from "@inmesh/core/spi";
import { REMEMBER_HTTP1_MS } from "@inmesh/http/spi/codec";
import type { Exchange } from "./exchange.ts";
import type { Http1Pool } from "./http1/pool.ts";
import type { Http2UpstreamPool } from "./http2/pool.ts";
import type { UpstreamPool } from "./upstream.ts";

/** What is known of an endpoint. */
export interface Negotiated {
  /** It speaks HTTP/1.1 until this instant, as far as that is known; 0: it does not. */
  http1Until: number;
}

export class NegotiatedPool implements UpstreamPool {
  readonly #http2: Http2UpstreamPool;
  readonly #openHttp1: () => Http1Pool;
  readonly #runtime: Runtime;
  readonly #found: Negotiated;
  #http1: Http1Pool | undefined = undefined;
  /** Those of before, which end with what is in flight. */
  readonly #former = new Set<Http1Pool>();
  #closing: Promise<void> | undefined = undefined;

  /**
   * `openHttp2`: its pool gives to `fallBack` what waits when TLS agrees on something else. `found`: outlives the pool,
   * which is replaced more often than endpoints change what they speak.
   */
  constructor(
    openHttp2: (fallBack: (waiting: readonly Exchange[]) => void) => Http2UpstreamPool,
    openHttp1: () => Http1Pool,
    runtime: Runtime,
    found: Negotiated,
  ) {
    this.#openHttp1 = openHttp1;
    this.#runtime = runtime;
    this.#found = found;
    this.#http2 = openHttp2((waiting) => this.#fallBack(waiting));
  }

  dispatch(exchange: Exchange): void {
    if (this.#isHttp1) return this.#dispatch1(exchange);
    if (this.#http1 !== undefined) this.#retire(this.#http1);
    this.#http2.dispatch(exchange);
  }

  get #isHttp1(): boolean {
    return this.#runtime.now() < this.#found.http1Until;
  }

  #fallBack(waiting: readonly Exchange[]): void {
    this.#found.http1Until = this.#runtime.now() + REMEMBER_HTTP1_MS;
    for (const exchange of waiting) this.#dispatch1(exchange);
  }

  #dispatch1(exchange: Exchange): void {
    (this.#http1 ??= this.#openHttp1()).dispatch(exchange);
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
    return (this.#isHttp1 ? (this.#http1 ??= this.#openHttp1()) : this.#http2).probe();
  }

  distrust(): boolean {
    return this.#pools1.length === 0 && this.#http2.distrust();
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    // What waits there may still have to come to HTTP/1.1.
    await this.#http2.close();
    await Promise.all(this.#pools1.map((pool) => pool.close()));
  }

  destroy(error: MeshError): void {
    this.#http2.destroy(error);
    for (const pool of this.#pools1) pool.destroy(error);
  }
}
