/**
 * What an exchange is dispatched to: the connections to one endpoint with one set of certificates,
 * of HTTP/1.1 (undici's pool) or of HTTP/2 (ours). Both drive the exchange by the same events.
 */
import type { Socket } from "node:net";
import { ConnectionPeer, type ServerPeer, type ServiceConfig } from "@inmesh/core/spi";
import type { Client as UndiciClient, Dispatcher, Pool as UndiciPool } from "undici";
import { HTTP_1_1 } from "../standard.ts";
import type { Connector } from "./connector.ts";
import { KEEP_ALIVE_MARGIN_MS, KEEP_ALIVE_MS } from "./pool-life.ts";
import type { HttpRequest } from "./request.ts";
import { Client, Pool } from "./undici.ts";

export interface PoolHandler extends Dispatcher.DispatchHandler {
  /** Writer: the connection that takes the request, where a reply may end with its connection. */
  line: Line | undefined;
}

/** What carries one request at a time over one connection at a time. */
export interface Line {
  /** Of HTTP, as it is spoken on the connection: 1 or 2. */
  readonly version: number;
  /** Its connection ended, or is ending, in an error instead of an orderly close. */
  readonly broken: boolean;
  /** Who is at its other end. Read when someone asks, while it is open. */
  readonly peer: ServerPeer;
  /** A request begins on its connection. True: the connection has carried another before. */
  reuse(): boolean;
}

export interface HttpPool {
  /** False: it has to wait for a connection, or the next one would. */
  dispatch(request: HttpRequest, handler: PoolHandler): boolean;
  /** The same error, or a better one where the pool knows more than the event says. */
  explain(error: Error): Error;
  /** Connections that are established. */
  readonly open: number;
  /** `http/1.1` or `h2`; undefined before the first connection. */
  readonly application: string | undefined;
  /** Completes a handshake and keeps the connection for the next request. */
  probe(): Promise<boolean>;
  /** Uses no connection again before it has answered a ping. Left out where there are none. */
  prove?(): void;
  /** Waits for what is queued and in flight; takes nothing new. Idempotent. */
  close(): Promise<void>;
  /** Ends everything now, with this error. */
  destroy(error: Error): Promise<void>;
}

interface Opened {
  socket: Socket | null;
  used: boolean;
  peer: ServerPeer | undefined;
}

/**
 * undici shows a handler neither its connection nor how that ended. A Client has one connection and,
 * without pipelining, one request at a time: as long as a reply has not ended, the connection opened
 * last is its own.
 */
class LineClient extends Client implements Line {
  readonly version: number = HTTP_1_1;
  readonly #connector: Connector;
  readonly #opened: Opened;

  constructor(origin: URL | string, options: object, connector: Connector) {
    const opened: Opened = { socket: null, used: false, peer: undefined };
    const connect: Connector["connect"] = (target, done) =>
      connector.connect(target, (error, socket) => {
        opened.socket = socket;
        opened.used = false;
        opened.peer = undefined;
        done(error, socket);
      });
    super(origin, { ...options, connect } as UndiciClient.Options);
    this.#connector = connector;
    this.#opened = opened;
  }

  get peer(): ServerPeer {
    const opened = this.#opened;
    const { socket } = opened;
    return (opened.peer ??= socket === null ? ConnectionPeer.unknown : ConnectionPeer.of(socket));
  }

  get broken(): boolean {
    const { socket } = this.#opened;
    return socket !== null && this.#connector.broke(socket);
  }

  reuse(): boolean {
    const { used } = this.#opened;
    this.#opened.used = true;
    return used;
  }

  override dispatch(
    options: Dispatcher.DispatchOptions,
    handler: Dispatcher.DispatchHandler,
  ): boolean {
    (handler as PoolHandler).line = this;
    return super.dispatch(options, handler);
  }
}

/** HTTP/1.1: an undici Pool whose origin is the service and whose connector dials the endpoint. */
export class Http1Pool implements HttpPool {
  readonly connector: Connector;
  readonly #pool: UndiciPool;
  #closing: Promise<void> | undefined = undefined;

  constructor(service: ServiceConfig, connector: Connector) {
    this.connector = connector;
    this.#pool = new Pool(`${service.scheme}://${service.authority}`, {
      connections: service.limits.maxConnectionsPerEndpoint,
      factory: (origin, options) => new LineClient(origin, options, connector),
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

  dispatch(request: HttpRequest, handler: PoolHandler): boolean {
    return this.#pool.dispatch(request as unknown as Dispatcher.DispatchOptions, handler);
  }

  get open(): number {
    return this.#pool.stats.connected;
  }

  get application(): string | undefined {
    return this.open > 0 ? "http/1.1" : undefined;
  }

  explain(error: Error): Error {
    return this.connector.rejected(error) ? this.connector.rejectionError(error) : error;
  }

  probe(): Promise<boolean> {
    return this.connector.probe();
  }

  close(): Promise<void> {
    this.connector.close();
    return (this.#closing ??= this.#pool.close());
  }

  destroy(error: Error): Promise<void> {
    this.connector.destroy();
    return this.#pool.destroy(error);
  }
}
