/**
 * `meshServer(handler)`: the server half. It wraps any `(request, response)` listener, or a Node
 * server that has one, reads what the caller says about its request, refuses what cannot or must not
 * be served, runs the handler where its own calls inherit the rest, and knows how to leave.
 */
import { once } from "node:events";
import type { RequestListener, Server as HttpServer } from "node:http";
// oxlint-disable-next-line no-restricted-imports -- types; the module itself is loaded by listeners.ts, if
// at all
import type { Http2SecureServer, Http2Server } from "node:http2";
import type { Server as HttpsServer } from "node:https";
import type { AddressInfo, ListenOptions } from "node:net";
import { Server as NetServer } from "node:net";
import { Server as TlsServer } from "node:tls";
import {
  assertOptions,
  graceMistake,
  removeStaleSocket,
  ServerCore,
  type ServerIdentity,
  ServerSettings,
  SHARED_SERVER_OPTIONS,
  type OptionKinds,
  type ServerState,
  type ServerTls,
  type SharedServerOptions,
  type SharedServerSnapshot,
  type Speaks,
} from "@inmesh/core/spi";
import { shown } from "./client/call-input.ts";
import { isServerInstrumented } from "./instrumented.ts";
import { ServerMembers } from "./node-internals.ts";
import { ChosenRules } from "./server/chosen-rules.ts";
import { Connections } from "./server/connections.ts";
import { COUNTED, type CutReason } from "./server/cuts.ts";
import { Health, type HealthOptions } from "./server/health.ts";
import { HeadReader } from "./server/inbound.ts";
import { DEFAULT_LIMITS, type ServerLimits } from "./server/limits.ts";
import {
  makeServer,
  NODE_HTTP,
  tighten,
  type GivenLimit,
  type NodeServer,
} from "./server/listeners.ts";
import { countMalformed } from "./server/malformed.ts";
import { guardRequests } from "./server/request-events.ts";
import { Serving } from "./server/serving.ts";
import { serverDuration } from "./server/standard.ts";
import { guardTunnels } from "./server/tunnels.ts";
import { Validator } from "./server/validate.ts";

export interface ServerOptions extends SharedServerOptions {
  /** HTTP/2: cleartext with prior knowledge, or with `tls` by ALPN beside HTTP/1.1. Default false. */
  readonly http2?: boolean;
  /**
   * Certificate and key: paths of files that are followed, or PEM, or an identity source of `mesh`. Default:
   * none, plain text. Without effect on a server that is given.
   */
  readonly tls?: ServerTls;
  /** Names of identity headers that stay, because something in front vouches for them. Default: none. */
  readonly keepHeaders?: readonly string[];
  /**
   * The hosts it is: `orders.example` at any port, or `orders.example:8443`. A request for another
   * gets 421, so that it cannot be reached by a foreign name. Health is answered whatever the host.
   * Throws a TypeError if it is empty. Default: any host.
   */
  readonly authorities?: readonly string[];
  /** Names of headers with a `_` get 400: some backends take `X_Y` for `X-Y`. Default false. */
  readonly refuseUnderscores?: boolean;
  /** Those that differ from the defaults of docs/reference/limits.md. Default: none. */
  readonly limits?: Partial<ServerLimits>;
  /** `/livez` and `/readyz`; false: neither. Default: both. */
  readonly health?: HealthOptions | false;
  /** Milliseconds that an idle connection is kept for one more request, when draining. Default 1 000. */
  readonly idleWaitMs?: number;
}

const OPTIONS: OptionKinds<ServerOptions> = {
  ...SHARED_SERVER_OPTIONS,
  http2: "boolean",
  tls: "object",
  keepHeaders: "list",
  authorities: "list",
  refuseUnderscores: "boolean",
  limits: "object",
  health: "any",
  idleWaitMs: "milliseconds",
};
const HEALTH_OPTIONS: OptionKinds<HealthOptions> = {
  live: "any",
  ready: "any",
  isReady: "function",
};
const OPTION_HINTS = {
  port: "it belongs to listen(port)",
  host: "it belongs to listen(port, host)",
  cert: "it belongs into tls: { cert, key }",
  key: "it belongs into tls: { cert, key }",
  keepMetadata: 'did you mean "keepHeaders"?',
};

export interface ServerSnapshot extends SharedServerSnapshot<CutReason> {
  readonly requestsInFlight: number;
  readonly connections: number;
  readonly sessions: number;
  readonly limits: ServerLimits;
  /** Limits that a server we were given does not keep. */
  readonly weaker: readonly GivenLimit[];
}

const DEFAULT_GRACE_MS = 30_000;
const IDLE_WAIT_MS = 1_000;

/**
 * Wraps a request listener in a new server, or stands before the request listeners of a server that is
 * given (`http`, `https`, `http2`). Its `server` has the type of what is wrapped, or made. A listener whose
 * promise rejects is treated as by Node: as an unhandled rejection, or answered 500 where
 * `events.captureRejections` is on as the server is made. Throws a TypeError or RangeError for options that
 * cannot work, for an Express application that is to speak HTTP/2, and for an HTTP/2 server that has
 * listeners of `stream` and none of `request`.
 */
export function meshServer<S extends NodeServer>(server: S, options?: ServerOptions): MeshServer<S>;
export function meshServer(
  listener: RequestListener,
  options?: ServerOptions & { readonly http2?: false; readonly tls?: undefined },
): MeshServer<HttpServer>;
export function meshServer(
  listener: RequestListener,
  options: ServerOptions & { readonly http2?: false; readonly tls: ServerTls },
): MeshServer<HttpsServer>;
export function meshServer(
  listener: RequestListener,
  options: ServerOptions & { readonly http2: true; readonly tls?: undefined },
): MeshServer<Http2Server>;
export function meshServer(
  listener: RequestListener,
  options: ServerOptions & { readonly http2: true; readonly tls: ServerTls },
): MeshServer<Http2SecureServer>;
export function meshServer(
  target: RequestListener | NodeServer,
  options?: ServerOptions,
): MeshServer;
export function meshServer(
  target: RequestListener | NodeServer,
  options: ServerOptions = {},
): MeshServer {
  return new MeshServer(target, options);
}

export class MeshServer<S extends NodeServer = NodeServer> implements AsyncDisposable {
  /** Node's server, where more of it is needed: WebSockets, `ref`, other listeners. */
  readonly server: S;
  readonly name: string;
  readonly #core: ServerCore<CutReason>;
  readonly #settings: ServerSettings<ServerOptions, ServerLimits>;
  readonly #weaker: readonly GivenLimit[];
  readonly #members = new ServerMembers();
  readonly #connections: Connections;
  readonly #identity: ServerIdentity | undefined;
  readonly #serving: Serving;

  /** Use `meshServer`. */
  constructor(target: RequestListener | NodeServer, options: ServerOptions) {
    if (typeof target !== "function" && !isServer(target)) throw badTarget(target);
    assertOptions("meshServer", options, OPTIONS, OPTION_HINTS);
    const settings = new ServerSettings("meshServer", options, DEFAULT_LIMITS);
    const { limits, options: all } = settings;
    const { http2 = false, health } = all;
    if (health !== undefined && health !== false) {
      assertOptions("meshServer: health", health, HEALTH_OPTIONS);
    }
    const core = new ServerCore<CutReason>("meshServer", "http", settings, COUNTED);
    const { runtime } = core;
    this.name = core.name;
    this.#core = core;
    this.#settings = settings;
    const given = typeof target !== "function";
    const count = (reason: CutReason): void => void core.count(reason);
    const identity =
      given || options.tls === undefined
        ? undefined
        : core.shows(options.tls, () => count("handshake_failed"));
    this.#identity = identity;
    this.server = (given ? target : makeServer({ http2, tls: identity?.options, limits })) as S;
    this.#weaker = given ? tighten(this.server, limits) : [];
    const secure = this.server instanceof TlsServer;
    const { connections: record } = core;
    const connections = new Connections(
      this.server,
      secure,
      !given,
      limits,
      runtime,
      count,
      record,
    );
    this.#connections = connections;
    identity?.follow(this.server as unknown as TlsServer, (withinMs) =>
      connections.renew(withinMs),
    );
    const keep = new Set(all.keepHeaders?.map((name) => name.toLowerCase()));
    const chosen = ChosenRules.of(all);
    const linger = { limits, runtime };
    const instrumented = isServerInstrumented(this.server);
    const ownHealth = health === false ? undefined : new Health(health);
    const serving = (this.#serving = new Serving({
      core,
      limits,
      members: this.#members,
      connections,
      reader: new HeadReader(limits, keep),
      validator: new Validator(limits, secure),
      chosen,
      health: ownHealth,
      standard: serverDuration(secure, instrumented),
      keep,
      linger,
      tracedByOthers: instrumented,
      given,
    }));
    core.bound("connections", () => ({
      size: connections.size,
      limit: limits.maxConnections,
    }));
    if (secure) {
      core.bound("handshakes", () => ({
        size: connections.handshakes,
        limit: limits.maxHandshakes,
      }));
    }
    core.leavesBy(connections, all.idleWaitMs ?? IDLE_WAIT_MS, () => this.#stopListening());
    core.facts = () => ({
      connections: connections.sockets.size,
      sessions: connections.sessions,
      readyPath: ownHealth?.readyPath,
      // Bun's servers do not say whether they listen.
      notReady:
        (this.server as { readonly listening?: boolean }).listening === false
          ? "not listening"
          : ownHealth?.isMet === false
            ? "not ready"
            : undefined,
    });
    // As a server of Node's may. What listens after its end would otherwise never end again.
    core.listensBy(this.server, speaksOf(this.server, secure));
    this.server.on("listening", () => {
      if (core.reopen()) connections.stay();
    });
    // A server that was given keeps its listeners; the mesh stands before them.
    guardRequests(this.server, (request, response, next, asksToContinue) =>
      serving.request(request, response, next, asksToContinue),
    );
    if (!given) (this.server as HttpServer).on("request", target); // all four emit it alike
    guardTunnels(this.server, chosen, count, linger);
    countMalformed(this.server, count, (connection) => serving.isReplying(connection), linger);
  }

  // ── lifetime ─────────────────────────────────────────────────────────────────────────────────

  /**
   * Starts to listen; `port` 0, the default, chooses one. Rejects if it cannot. Of `{ path }`, a Unix
   * socket, what a killed process left behind is taken away, unless a process answers on it. With an identity
   * source it waits for the first certificate, at most 10 s.
   */
  async listen(port: number | ListenOptions = 0, host?: string): Promise<AddressInfo> {
    if (typeof port !== "number" && port.path !== undefined) await removeStaleSocket(port.path);
    await this.#identity?.answered();
    const listening = once(this.server, "listening");
    this.server.listen(typeof port === "number" ? { port, ...(host && { host }) } : port);
    await listening;
    return this.address()!;
  }

  /** Where it listens; null if it does not. On a path the port is 0 and `address` the path. */
  address(): AddressInfo | null {
    const address = this.server.address();
    if (typeof address !== "string") return address;
    return { address, family: "unix", port: 0 };
  }

  get state(): ServerState {
    return this.#core.state;
  }

  /**
   * Leaves without losing a request: not ready, `discoveryWaitMs` later no new connections and
   * `Connection: close` or GOAWAY, then the end of what is in progress. Whatever is left `graceMs`
   * after the call (default 30 000) is destroyed. Idempotent: later calls give the same promise, until
   * the server listens once more.
   */
  drain(graceMs: number = DEFAULT_GRACE_MS): Promise<void> {
    return this.#leave(graceMs, false);
  }

  /**
   * The same without waiting for discovery to notice; `graceMs` 0 destroys at once. Idempotent. With a
   * function instead, that is called when it has closed, as by `close` of Node's servers.
   */
  close(graceMs: number | (() => void) = DEFAULT_GRACE_MS): Promise<void> {
    if (typeof graceMs === "function") return this.close().then(graceMs);
    return this.#leave(graceMs, true);
  }

  #leave(graceMs: number, noticed: boolean): Promise<void> {
    const wrong = graceMistake("meshServer", graceMs);
    return wrong === undefined ? this.#core.leave(graceMs, noticed) : Promise.reject(wrong);
  }

  /** Node's, of `server`: with them, `listen`, `address` and `close`, test libraries take it for a server. */
  once(event: string, listener: (...args: unknown[]) => void): this {
    this.server.once(event, listener);
    return this;
  }

  removeListener(event: string, listener: (...args: unknown[]) => void): this {
    this.server.removeListener(event, listener);
    return this;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** The server's own close also closes idle connections at once, and with them a request on its way. */
  #stopListening(): void {
    const server: unknown = this.server;
    if (server instanceof NetServer && server.listening) NetServer.prototype.close.call(server);
    else if (!(server instanceof NetServer)) this.server.close(); // Bun's is none
    this.#serving.leave();
  }

  /** State behind every decision, as plain data. */
  snapshot(): ServerSnapshot {
    return {
      ...this.#core.snapshot(this.#members.degraded.list),
      requestsInFlight: this.#core.admission.inFlight,
      connections: this.#connections.sockets.size,
      sessions: this.#connections.sessions,
      limits: { ...this.#settings.limits },
      weaker: this.#weaker,
    };
  }
}

/** An HTTP server of Bun's is no `net.Server`, but one of `http.Server`, that of https too. */
function isServer(target: unknown): target is NodeServer {
  return target instanceof NetServer || target instanceof NODE_HTTP.Server;
}

/** What clients have to speak with it. */
function speaksOf(server: NodeServer, tls: boolean): Speaks {
  const http2 = "updateSettings" in server;
  if (!tls) return { speaks: [http2 ? "h2c" : "http/1.1"], tls };
  const http1 = "keepAliveTimeout" in server;
  return { speaks: [...(http2 ? ["h2"] : []), ...(http1 ? ["http/1.1"] : [])], tls };
}

function badTarget(target: unknown): TypeError {
  return new TypeError(
    `meshServer: takes a listener (request, response) or a server of node:http, https or http2, got ${shown(target)}; frameworks have one, as Express's app, Koa's app.callback() and Fastify's serverFactory`,
  );
}
