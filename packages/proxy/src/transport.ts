/**
 * HTTP and gRPC as the protocols of a mesh whose requests come from clients of the proxy. Their names are those of the
 * library's, so metrics, tap and snapshots of both are the same, and so is what the two have apart: connections, breakers,
 * budgets, and which processes the registry finds. What differs is that heads and bodies are never objects of Node's.
 */
import {
  endOfAge,
  grpcCallDuration,
  grpcCodeOfError,
  transportWithTls,
  type ServiceTls,
  type Attempt,
  type CloseTrigger,
  type Connection,
  type ConnectionFacts,
  type ConnectionRecord,
  type EndpointInfo,
  type Runtime,
  type ServiceConfig,
  type Spoken,
} from "@inmesh/core/spi";
import { clientDurationOf, Connector, shutPool, STALE_MS } from "@inmesh/http/spi/codec";
import { Exchange } from "./exchange.ts";
import type { ForwardProtocol } from "./forward.ts";
import { Http1Pool } from "./http1/pool.ts";
import { Http2Clock } from "./http2/clock.ts";
import { Http2UpstreamPool } from "./http2/pool.ts";
import { NegotiatedPool, type Negotiated } from "./negotiated.ts";
import type { ProxyRequest } from "./request.ts";
import type { UpstreamPool } from "./upstream.ts";

const HTTP1: readonly string[] = ["http/1.1"];
const HTTP2: readonly string[] = ["h2", "http/1.1"];

export const PROXY_HTTP: ForwardProtocol = {
  name: "http",
  standard: { attempts: clientDurationOf },
  transport: transportOf(false),
};

export const PROXY_GRPC: ForwardProtocol = {
  name: "grpc",
  statusOf: grpcCodeOfError,
  standard: { calls: grpcCallDuration },
  transport: transportOf(true),
};

function transportOf(isGrpc: boolean): ForwardProtocol["transport"] {
  return (service, runtime, identities, record) => {
    const clock = new Http2Clock(runtime);
    return transportWithTls(
      service,
      runtime,
      identities,
      (endpoint, tls) =>
        new UpstreamConnection(endpoint, service, runtime, clock, tls, record, isGrpc),
    );
  };
}

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
  /** It has HTTP/2 alone, whatever the service speaks beside it. */
  readonly #isGrpc: boolean;
  #pool: UpstreamPool;
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
    isGrpc: boolean,
  ) {
    this.#endpoint = endpoint;
    this.#service = service;
    this.#runtime = runtime;
    this.#clock = clock;
    this.#tls = tls;
    this.#record = record;
    this.#isGrpc = isGrpc;
    this.#unwatch = tls?.use(() => this.#renew("identity"));
    this.#pool = this.#open();
  }

  send(attempt: Attempt<ProxyRequest>): Promise<Exchange> {
    const { startedAt } = attempt;
    if (startedAt > this.#endsAt) this.#renew("age");
    else if (startedAt - this.#usedAt > STALE_MS) this.#distrust();
    this.#usedAt = startedAt;
    return new Exchange(attempt, this.#service, this.#runtime).send(this.#pool);
  }

  probe(): Promise<boolean> {
    this.#usedAt = this.#runtime.now();
    return this.#closing === undefined ? this.#pool.probe() : Promise.resolve(false);
  }

  get connected(): boolean | undefined {
    return this.#record?.has(this.#owner);
  }

  get queued(): number {
    return this.#pool.queued;
  }

  describe(): ConnectionFacts {
    let { open } = this.#pool;
    for (const pool of this.#retired) open += pool.open;
    const { queued } = this;
    const { application } = this.#pool;
    return { open, application: open === 0 ? undefined : application, queued, unread: undefined };
  }

  close(graceMs: number): Promise<void> {
    this.#unwatch?.();
    this.#record?.closing(this.#owner, "drain");
    this.#closing ??= Promise.all(
      [this.#pool, ...this.#retired].map((pool) =>
        shutPool(pool, this.#service.name, graceMs, this.#runtime),
      ),
    ).then(() => {});
    return this.#closing;
  }

  #open(): UpstreamPool {
    const service = this.#service;
    this.#endsAt = endOfAge(service.limits.maxConnectionAgeMs, this.#runtime);
    const owner = this.#owner;
    const runtime = this.#runtime;
    const http1 = (): Http1Pool =>
      new Http1Pool(service, this.#connector(HTTP1, "http1", owner), runtime, this.#clock.flushes);
    const isGrpc = this.#isGrpc;
    if (!service.http2 && !isGrpc) return http1();
    const connector = this.#connector(HTTP2, isGrpc ? "grpc" : "http2", owner);
    const open = (fallBack?: (waiting: readonly Exchange[]) => void): Http2UpstreamPool =>
      new Http2UpstreamPool(service, connector, runtime, this.#clock, fallBack);
    // gRPC has nothing to fall back to.
    return this.#tls !== undefined && !isGrpc
      ? new NegotiatedPool(open, http1, runtime, this.#found)
      : open();
  }

  #connector(protocols: readonly string[], protocol: Spoken, owner: object): Connector {
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
    if (!this.#pool.distrust()) this.#renew("idle");
  }

  #renew(why: CloseTrigger): void {
    if (this.#closing !== undefined) return;
    this.#record?.closing(this.#owner, why);
    const former = this.#pool;
    this.#owner = {};
    this.#pool = this.#open();
    this.#retired.add(former);
    void former.close().then(() => this.#retired.delete(former));
  }
}
