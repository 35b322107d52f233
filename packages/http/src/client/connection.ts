/**
 * The way to one endpoint: a pool of connections, replaced by another when certificates are rotated.
 * What is in flight or queued then stays with the old pool, which drains.
 */
import {
  MeshError,
  TlsFiles,
  type Attempt,
  type Connection,
  type EndpointInfo,
  type Runtime,
  type ServiceConfig,
} from "@inmesh/core/spi";
import { Connector } from "./connector.ts";
import { Exchange } from "./exchange.ts";
import { Http2Pool } from "./http2/pool.ts";
import { lend } from "./lease.ts";
import { LentSockets } from "./lent-sockets.ts";
import { Http1Pool, type HttpPool } from "./pool.ts";
import type { HttpReply } from "./reply.ts";
import type { HttpRequest } from "./request.ts";

const HTTP1: readonly string[] = ["http/1.1"];
const HTTP2: readonly string[] = ["h2", "http/1.1"];

export class HttpConnection implements Connection<HttpRequest, HttpReply> {
  readonly service: ServiceConfig;
  /** For new attempts. */
  pool: HttpPool;
  /** Attempts that wait for a connection. Writer: the exchange. */
  queued = 0;
  readonly #endpoint: EndpointInfo;
  readonly #runtime: Runtime;
  readonly #tls: TlsFiles | undefined;
  readonly #unwatch: (() => void) | undefined;
  readonly #retired = new Set<HttpPool>();
  #lentSockets: LentSockets | undefined = undefined;
  #closing: Promise<void> | undefined = undefined;

  /** `tls`: of an https service, shared by its connections. */
  constructor(endpoint: EndpointInfo, service: ServiceConfig, runtime: Runtime, tls?: TlsFiles) {
    this.service = service;
    this.#endpoint = endpoint;
    this.#runtime = runtime;
    // Whoever forgets it must not send in plain text.
    this.#tls = tls ?? (service.scheme === "https" ? new TlsFiles(service, runtime) : undefined);
    this.#unwatch = this.#tls?.use(() => this.#renew());
    this.pool = this.#open();
  }

  send(attempt: Attempt<HttpRequest>): Promise<HttpReply> {
    if (attempt.call.request.lent) {
      return lend(attempt, this.#lent(), this.#runtime) as Promise<unknown> as Promise<HttpReply>;
    }
    return new Exchange(attempt, this, this.#runtime).send();
  }

  probe(): Promise<boolean> {
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
    if (this.queued < maxQueuedPerEndpoint) return undefined;
    return this.#refused(
      "overloaded",
      "queue_full",
      `${this.queued} attempts wait for a connection already (limits.maxQueuedPerEndpoint)`,
    );
  }

  close(graceMs: number): Promise<void> {
    this.#unwatch?.();
    this.#lentSockets?.close();
    this.#closing ??= Promise.all(
      [this.pool, ...this.#retired].map((pool) => this.#shut(pool, graceMs)),
    ).then(() => {});
    return this.#closing;
  }

  /** Made when first asked for. Certificates are those in force when a connection is opened. */
  #lent(): LentSockets {
    return (this.#lentSockets ??= new LentSockets(
      this.service,
      (done) => this.#connector(HTTP1).dial(done),
      this.#runtime,
    ));
  }

  #open(): HttpPool {
    const { service } = this;
    const secure = this.#tls?.context;
    const http1 = (): Http1Pool => new Http1Pool(service, this.#connector(HTTP1));
    if (!service.http2) return http1();
    return new Http2Pool(
      service,
      this.#connector(secure === undefined ? [] : HTTP2),
      this.#runtime,
      http1,
    );
  }

  #connector(protocols: readonly string[]): Connector {
    return new Connector(
      this.#endpoint,
      this.service,
      this.#runtime,
      this.#tls?.context,
      protocols,
    );
  }

  /** Other certificates: new calls make new connections, the old ones end with their calls. */
  #renew(): void {
    if (this.#closing !== undefined) return;
    const old = this.pool;
    this.pool = this.#open();
    this.#retired.add(old);
    void this.#shut(old, this.service.drainGraceMs).then(() => this.#retired.delete(old));
  }

  async #shut(pool: HttpPool, graceMs: number): Promise<void> {
    const drained = pool.close();
    const timer = this.#runtime.after(
      graceMs,
      (one) => {
        const error = new MeshError({
          code: "cancelled",
          reason: "shutdown",
          message: `${this.service.name}: the connection was closed before the attempt ended`,
          progress: "maybe-processed",
        });
        one.destroy(error).catch(() => {});
      },
      pool,
      true,
    );
    // A pool destroyed in the middle rejects its close; either way it is closed.
    await drained.catch(() => {});
    timer.cancel();
  }

  #refused(
    code: "bad_request" | "overloaded",
    reason: "header_too_large" | "queue_full",
    what: string,
  ): MeshError {
    const { host, port } = this.#endpoint;
    return new MeshError({
      code,
      reason,
      message: `${this.service.name} → ${host}:${port}: ${what}`,
      progress: "not-sent",
      stackless: true,
    });
  }
}
