/**
 * HTTP as the protocol of a mesh whose requests come from clients of the proxy. Its name is that of the library's,
 * so metrics, tap and snapshots of both are the same; what differs is that heads and bodies are never objects
 * of Node's.
 */
import {
  endOfAge,
  transportWithTls,
  type ServiceTls,
  type Attempt,
  type CloseTrigger,
  type Connection,
  type ConnectionFacts,
  type ConnectionRecord,
  type EndpointInfo,
  type Protocol,
  type Runtime,
  type ServiceConfig,
} from "@inmesh/core/spi";
import { clientDurationOf, Connector, shutPool, STALE_MS } from "@inmesh/http/spi/codec";
import { Exchange } from "./exchange.ts";
import { Http1Pool } from "./http1/pool.ts";
import { Http2Clock } from "./http2/clock.ts";
import { Http2UpstreamPool } from "./http2/pool.ts";
import { NegotiatedPool, type Negotiated } from "./negotiated.ts";
import type { ProxyRequest } from "./request.ts";
import type { UpstreamPool } from "./upstream.ts";

const HTTP1: readonly string[] = ["http/1.1"];
const HTTP2: readonly string[] = ["h2", "http/1.1"];

export const PROXY_HTTP: Protocol<ProxyRequest, Exchange> = {
  name: "http",
  standard: { attempts: clientDurationOf },
  transport: (service, runtime, identities, record) => {
    const clock = new Http2Clock(runtime);
    return transportWithTls(
      service,
      runtime,
      identities,
      (endpoint, tls) => new UpstreamConnection(endpoint, service, runtime, clock, tls, record),
    );
  },
};

/**
 * The way to one endpoint: a pool of connections, replaced by another when certificates are rotated, when it is
 * old, and when the process stood still. What is in flight or queued then stays with the old pool, which drains.
 */
class UpstreamConnection implements Connection<ProxyRequest, Exchange> {
  readonly #endpoint: EndpointInfo;
  readonly #service: ServiceConfig;
  readonly #runtime: Runtime;
  readonly #clock: Http2Clock;
  readonly #tls: ServiceTls | undefined;
  readonly #record: ConnectionRecord | undefined;
  readonly #unwatch: (() => void) | undefined;
  readonly #retired = new Set<UpstreamPool>();
  #pool: UpstreamPool;
  /** For gRPC, which has HTTP/2 alone, where the service speaks HTTP/1.1; undefined: there was none. */
  #grpcPool: UpstreamPool | undefined = undefined;
  /** What the connections of the pool belong to. */
  #owner: object = {};
  readonly #found: Negotiated = { http1Until: 0 };
  #usedAt = Infinity;
  #endsAt = Infinity;
  #closing: Promise<void> | undefined = undefined;

  constructor(
    endpoint: EndpointInfo,
    service: ServiceConfig,
    runtime: Runtime,
    clock: Http2Clock,
    tls: ServiceTls | undefined,
    record: ConnectionRecord | undefined,
  ) {
    this.#endpoint = endpoint;
    this.#service = service;
    this.#runtime = runtime;
    this.#clock = clock;
    this.#tls = tls;
    this.#record = record;
    this.#unwatch = tls?.use(() => this.#renew("identity"));
    this.#pool = this.#open(service.http2);
  }

  send(attempt: Attempt<ProxyRequest>): Promise<Exchange> {
    const { startedAt } = attempt;
    if (startedAt > this.#endsAt) this.#renew("age");
    else if (startedAt - this.#usedAt > STALE_MS) this.#distrust();
    this.#usedAt = startedAt;
    const isGrpc = !this.#service.http2 && attempt.call.request.head.isGrpc;
    const pool = isGrpc ? (this.#grpcPool ??= this.#open(true)) : this.#pool;
    return new Exchange(attempt, this.#service, this.#runtime).send(pool);
  }

  probe(): Promise<boolean> {
    this.#usedAt = this.#runtime.now();
    return this.#closing === undefined ? this.#pool.probe() : Promise.resolve(false);
  }

  get connected(): boolean | undefined {
    return this.#record?.has(this.#owner);
  }

  get queued(): number {
    return this.#pool.queued + (this.#grpcPool?.queued ?? 0);
  }

  describe(): ConnectionFacts {
    let open = this.#pool.open + (this.#grpcPool?.open ?? 0);
    for (const pool of this.#retired) open += pool.open;
    const { queued } = this;
    const application = this.#pool.application ?? this.#grpcPool?.application;
    return { open, application: open === 0 ? undefined : application, queued, unread: undefined };
  }

  close(graceMs: number): Promise<void> {
    this.#unwatch?.();
    this.#record?.closing(this.#owner, "drain");
    this.#closing ??= Promise.all(
      [this.#pool, this.#grpcPool, ...this.#retired]
        .filter((pool) => pool !== undefined)
        .map((pool) => shutPool(pool, this.#service.name, graceMs, this.#runtime)),
    ).then(() => {});
    return this.#closing;
  }

  #open(http2: boolean): UpstreamPool {
    const service = this.#service;
    this.#endsAt = endOfAge(service.limits.maxConnectionAgeMs, this.#runtime);
    // Both pools of a time have one owner.
    const owner = this.#owner;
    const runtime = this.#runtime;
    const http1 = (): Http1Pool =>
      new Http1Pool(service, this.#connector(HTTP1, "http1", owner), runtime, this.#clock.flushes);
    if (!http2) return http1();
    const connector = this.#connector(HTTP2, "http2", owner);
    const open = (fallBack?: (waiting: readonly Exchange[]) => void): Http2UpstreamPool =>
      new Http2UpstreamPool(service, connector, runtime, this.#clock, fallBack);
    // A pool for gRPC alone has nothing to fall back to.
    const negotiates = this.#tls !== undefined && service.http2;
    return negotiates ? new NegotiatedPool(open, http1, runtime, this.#found) : open();
  }

  #connector(protocols: readonly string[], protocol: "http1" | "http2", owner: object): Connector {
    const record = this.#record;
    return new Connector(
      this.#endpoint,
      this.#service,
      this.#runtime,
      this.#tls?.context,
      this.#tls === undefined ? [] : protocols,
      record && { record, protocol, owner },
    );
  }

  #distrust(): void {
    const isKept = this.#pool.distrust() && this.#grpcPool?.distrust() !== false;
    if (!isKept) this.#renew("idle");
  }

  #renew(why: CloseTrigger): void {
    if (this.#closing !== undefined) return;
    this.#record?.closing(this.#owner, why);
    const former = [this.#pool, this.#grpcPool];
    this.#owner = {};
    this.#pool = this.#open(this.#service.http2);
    this.#grpcPool = undefined;
    for (const old of former) {
      if (old === undefined) continue;
      this.#retired.add(old);
      void old.close().then(() => this.#retired.delete(old));
    }
  }
}
