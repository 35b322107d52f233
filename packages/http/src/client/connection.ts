/**
 * The way to one endpoint: a pool of connections, replaced by another when certificates are rotated,
 * when it is old, and when the process stood still.
 * What is in flight or queued then stays with the old pool, which drains.
 */
import {
  addressOf,
  type MeshError,
  stacklessError,
  endOfAge,
  ServiceTls,
  type Attempt,
  type CloseTrigger,
  type Connection,
  type ConnectionFacts,
  type ConnectionRecord,
  type EndpointInfo,
  type Runtime,
  type ServiceConfig,
} from "@inmesh/core/spi";
import { Connector } from "./connector.ts";
import { Exchange, type ExchangeOwner } from "./exchange.ts";
import { Http2Pool } from "./http2/pool.ts";
import { lease, type HttpResult } from "./lease.ts";
import { LeasedSockets } from "./leased-sockets.ts";
import { Http1Pool, type HttpPool } from "./pool.ts";
import { shutPool, STALE_MS } from "./pool-life.ts";
import type { HttpRequest } from "./request.ts";

const HTTP1: readonly string[] = ["http/1.1"];
const HTTP2: readonly string[] = ["h2", "http/1.1"];

export class HttpConnection implements Connection<HttpRequest, HttpResult>, ExchangeOwner {
  readonly service: ServiceConfig;
  /** For new attempts. */
  pool: HttpPool;
  /** Of them those that are no leases. */
  waiting = 0;
  unread = 0;
  readonly #endpoint: EndpointInfo;
  readonly #runtime: Runtime;
  readonly #tls: ServiceTls | undefined;
  readonly #unwatch: (() => void) | undefined;
  readonly #retired = new Set<HttpPool>();
  #usedAt = Infinity;
  /** Instant from which the pool is old. */
  #endsAt = Infinity;
  #leasedSockets: LeasedSockets | undefined = undefined;
  #closing: Promise<void> | undefined = undefined;
  readonly #record: ConnectionRecord | undefined;
  /** What the connections of the pool belong to. */
  #owner: object = {};

  /** `tls`: of an https service, shared by its connections. `record`: default nowhere. */
  constructor(
    endpoint: EndpointInfo,
    service: ServiceConfig,
    runtime: Runtime,
    tls?: ServiceTls,
    record?: ConnectionRecord,
  ) {
    this.#record = record;
    this.service = service;
    this.#endpoint = endpoint;
    this.#runtime = runtime;
    // If it is forgotten, nothing may be sent in plain text.
    this.#tls = tls ?? (service.scheme === "https" ? new ServiceTls(service, runtime) : undefined);
    this.#unwatch = this.#tls?.use(() => this.#renew("identity"));
    this.pool = this.#open();
  }

  send(attempt: Attempt<HttpRequest>): Promise<HttpResult> {
    if (attempt.call.request.leased) {
      return lease(attempt, this.#leasable(), this.#runtime);
    }
    const { startedAt } = attempt;
    if (startedAt > this.#endsAt) this.#renew("age");
    else if (startedAt - this.#usedAt > STALE_MS) this.#distrust();
    this.#usedAt = startedAt;
    return new Exchange(attempt, this, this.#runtime).send();
  }

  describe(): ConnectionFacts {
    const leased = this.#leasedSockets;
    let open = this.pool.open + (leased?.open ?? 0);
    for (const pool of this.#retired) open += pool.open;
    return {
      open,
      application: this.pool.application ?? (leased === undefined ? undefined : "http/1.1"),
      queued: this.queued,
      unread: this.unread,
    };
  }

  probe(): Promise<boolean> {
    this.#usedAt = this.#runtime.now();
    return this.#closing === undefined ? this.pool.probe() : Promise.resolve(false);
  }

  /** Why a request is not even queued: too large for any server, or too many wait already. */
  refusal(request: HttpRequest): MeshError | undefined {
    const { maxRequestHeaderBytes, maxQueuedPerEndpoint } = this.service.limits;
    if (request.headBytes > maxRequestHeaderBytes) {
      return this.#refused(
        "bad_request",
        "header_too_large",
        `target and headers have ${request.headBytes} bytes, more than limits.maxRequestHeaderBytes (${maxRequestHeaderBytes})`,
      );
    }
    if (this.waiting < maxQueuedPerEndpoint) return undefined;
    return this.#refused(
      "overloaded",
      "queue_full",
      `${this.waiting} attempts wait for a connection already (limits.maxQueuedPerEndpoint)${this.unreadHint}`,
    );
  }

  /** For the errors of those who wait, whose cause is elsewhere. */
  get unreadHint(): string {
    const { unread } = this;
    return unread === 0
      ? ""
      : `; ${unread} held by replies whose body has not been read: read it, or call discard()`;
  }

  /** Undefined without a mesh to report to. */
  get connected(): boolean | undefined {
    const record = this.#record;
    return record && (record.has(this.#owner) || record.has(this));
  }

  get queued(): number {
    return this.waiting + (this.#leasedSockets?.waiting ?? 0);
  }

  close(graceMs: number): Promise<void> {
    this.#unwatch?.();
    this.#record?.closing(this.#owner, "drain");
    this.#record?.closing(this, "drain");
    this.#leasedSockets?.close();
    this.#closing ??= Promise.all(
      [this.pool, ...this.#retired].map((pool) =>
        shutPool(pool, this.service.name, graceMs, this.#runtime),
      ),
    ).then(() => {});
    return this.#closing;
  }

  /** Made when first asked for. Certificates are those in force when a connection is opened. */
  #leasable(): LeasedSockets {
    return (this.#leasedSockets ??= new LeasedSockets(
      this.service,
      (done) => this.#connector(HTTP1, "http1", this).dial(done),
      this.#runtime,
    ));
  }

  #open(): HttpPool {
    const { service } = this;
    this.#endsAt = endOfAge(service.limits.maxConnectionAgeMs, this.#runtime);
    const secure = this.#tls?.context;
    const owner = {};
    this.#owner = owner;
    const http1 = (): Http1Pool => new Http1Pool(service, this.#connector(HTTP1, "http1", owner));
    const isH2c = this.#endpoint.http2 === true && secure === undefined;
    if (!service.http2 && !isH2c) return http1();
    return new Http2Pool(
      service,
      this.#connector(secure === undefined ? [] : HTTP2, "http2", owner),
      this.#runtime,
      http1,
    );
  }

  #connector(protocols: readonly string[], protocol: "http1" | "http2", owner: object): Connector {
    const record = this.#record;
    return new Connector(
      this.#endpoint,
      this.service,
      this.#runtime,
      this.#tls?.context,
      protocols,
      record && { record, protocol, owner },
    );
  }

  /**
   * New calls make new connections, with the certificates in force; the old end with their calls. A
   * pool is as old as the first of its connections: none is older than its age, most are younger.
   */
  #renew(why: CloseTrigger): void {
    if (this.#closing !== undefined) return;
    this.#record?.closing(this.#owner, why);
    const old = this.pool;
    this.pool = this.#open();
    this.#retired.add(old);
    const forget = (): void => void this.#retired.delete(old);
    old.close().then(forget, forget);
  }

  /** HTTP/2 asks its connections whether they are alive; those of HTTP/1.1 cannot be asked. */
  #distrust(): void {
    if (this.pool.prove === undefined) this.#renew("idle");
    else this.pool.prove();
  }

  #refused(
    code: "bad_request" | "overloaded",
    reason: "header_too_large" | "queue_full",
    what: string,
  ): MeshError {
    const message = `${this.service.name} → ${addressOf(this.#endpoint)}: ${what}`;
    return stacklessError(code, reason, "not-sent", message);
  }
}
