/** The way to one endpoint: an undici Pool whose origin is the service and whose connector dials the endpoint. */
import {
  MeshError,
  type Attempt,
  type Connection,
  type EndpointInfo,
  type Runtime,
  type ServiceConfig,
} from "@inmesh/core/spi";
import type { Pool as UndiciPool } from "undici";
import { Connector } from "./connector.ts";
import { Exchange } from "./exchange.ts";
import { Pool } from "./undici.ts";
import type { HttpReply } from "./reply.ts";
import type { HttpRequest } from "./request.ts";

/** Below every sane server's idle time; a server's own hint shortens it by two seconds. */
const KEEP_ALIVE_MS = 4_000;
const KEEP_ALIVE_MARGIN_MS = 2_000;

export class HttpConnection implements Connection<HttpRequest, HttpReply> {
  readonly service: ServiceConfig;
  readonly pool: UndiciPool;
  readonly connector: Connector;
  readonly #runtime: Runtime;
  #closing: Promise<void> | undefined = undefined;

  constructor(endpoint: EndpointInfo, service: ServiceConfig, runtime: Runtime) {
    this.service = service;
    this.#runtime = runtime;
    this.connector = new Connector(endpoint, service, runtime);
    this.pool = new Pool(`${service.scheme}://${service.authority}`, {
      connections: service.limits.maxConnectionsPerEndpoint,
      connect: this.connector.connect as never,
      allowH2: false,
      pipelining: 1,
      // Deadlines are ours: these two are coarse, and cover neither queue nor a paused reader.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveTimeoutThreshold: KEEP_ALIVE_MARGIN_MS,
      maxHeaderSize: service.limits.maxReplyHeaderBytes,
    });
  }

  send(attempt: Attempt<HttpRequest>): Promise<HttpReply> {
    return new Exchange(attempt, this, this.#runtime).send();
  }

  probe(): Promise<boolean> {
    return this.#closing === undefined ? this.connector.probe() : Promise.resolve(false);
  }

  close(graceMs: number): Promise<void> {
    this.#closing ??= this.#close(graceMs);
    return this.#closing;
  }

  async #close(graceMs: number): Promise<void> {
    this.connector.close();
    const drained = this.pool.close();
    const timer = this.#runtime.after(
      graceMs,
      (pool) => {
        const error = new MeshError({
          code: "cancelled",
          reason: "shutdown",
          message: `${this.service.name}: the connection was closed before the attempt ended`,
          progress: "maybe-processed",
        });
        pool.destroy(error).catch(() => {});
      },
      this.pool,
      true,
    );
    // A pool destroyed in the middle rejects its close; either way it is closed.
    await drained.catch(() => {});
    timer.cancel();
  }
}
