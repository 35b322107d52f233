/**
 * `meshServer(handler)`: the server half. It wraps any `(request, response)` listener, or a Node
 * server that has one, reads what the caller says about its request, refuses what cannot or must not
 * be served, runs the handler where its own calls inherit the rest, and knows how to leave.
 */
import { once } from "node:events";
import type {
  IncomingMessage,
  RequestListener,
  Server as HttpServer,
  ServerResponse,
} from "node:http";
// oxlint-disable-next-line no-restricted-imports -- types; the module itself is loaded by listeners.ts, if at all
import type { Http2SecureServer, Http2Server } from "node:http2";
import type { Server as HttpsServer } from "node:https";
import type { AddressInfo, ListenOptions } from "node:net";
import { Server as NetServer } from "node:net";
import { Server as TlsServer } from "node:tls";
import type { Log, Mesh } from "@inmesh/core";
import {
  Admission,
  assertOptions,
  BELIEFS,
  Drain,
  NodeRuntime,
  removeStaleSocket,
  withinDescriptors,
  type Beliefs,
  type OptionKinds,
  type Posture,
  type Observers,
  type Runtime,
  type ServerState,
} from "@inmesh/core/spi";
import { LEAVING } from "./headers.ts";
import { hintIdle, replaceDump, ServerMembers } from "./node-internals.ts";
import { ServerCertificates, type ServerTls } from "./server/certificates.ts";
import { ChosenRules } from "./server/chosen-rules.ts";
import type { ConnectionState, WithConnection } from "./server/connection-state.ts";
import { Connections } from "./server/connections.ts";
import { watchBody, watchHead } from "./server/cut-bodies.ts";
import { answerAndCut, cutShort } from "./server/cut-short.ts";
import type { CutReason } from "./server/cuts.ts";
import { Health, type HealthOptions } from "./server/health.ts";
import { emitInContext, INBOUND, serveInContext, type WithInbound } from "./server/in-context.ts";
import { HeadReader, Inbound, responseClosed, type InboundOwner } from "./server/inbound.ts";
import { dropClaims, injectedOf, isInjected, serveInjected } from "./server/injected.ts";
import { limitsOf, type ServerLimits } from "./server/limits.ts";
import {
  makeServer,
  NODE_HTTP,
  tighten,
  type GivenLimit,
  type Http2ServerResponse,
  type NodeServer,
} from "./server/listeners.ts";
import { countMalformed } from "./server/malformed.ts";
import { observeEnd, observeRequest, outcomeOfRefusal } from "./server/observed.ts";
import { writeOwnHead } from "./server/own-marks.ts";
import { isResetByPeer } from "./server/own-resets.ts";
import { linger, refuse, sayClose } from "./server/refuse.ts";
import { REFUSALS, type Refusal } from "./server/refusals.ts";
import { isReplaced, ReplacedLog } from "./server/replaced.ts";
import { guardRequests, type Guard } from "./server/request-events.ts";
import { isShort, watchLength } from "./server/reply-length.ts";
import { SlowPeers } from "./server/slow-peers.ts";
import { dropSurplus, type LingerOptions } from "./server/surplus.ts";
import { filterTrailers } from "./server/trailers.ts";
import { guardTunnels } from "./server/tunnels.ts";
import { endUnheard } from "./server/unheard-end.ts";
import { Validator } from "./server/validate.ts";

export interface ServerOptions {
  /** For people: in `snapshot()`. Default `server`. */
  readonly name?: string;
  /** Shares its clock. Default: the process's own. */
  readonly mesh?: Mesh;
  /** HTTP/2: cleartext with prior knowledge, or with `tls` by ALPN beside HTTP/1.1. Default false. */
  readonly http2?: boolean;
  /**
   * Certificate and key: paths of files that are followed, or PEM. Default: none, plain text. Without
   * effect on a server that is given.
   */
  readonly tls?: ServerTls;
  /** Who is believed, and what; see docs/reference/headers.md. Default `edge`. */
  readonly posture?: Posture;
  /** Names of identity headers that stay, because something in front vouches for them. Default: none. */
  readonly keepHeaders?: readonly string[];
  /**
   * The hosts it is: `orders.example` at any port, or `orders.example:8443`. A request for another
   * gets 421, so that nobody reaches it by a name of their own. Health is answered whatever the host.
   * Throws a TypeError if it is empty. Default: any host.
   */
  readonly authorities?: readonly string[];
  /** Names of headers with a `_` get 400: some backends take `X_Y` for `X-Y`. Default false. */
  readonly refuseUnderscores?: boolean;
  /** Those that differ from the defaults of docs/reference/limits.md. Default: none. */
  readonly limits?: Partial<ServerLimits>;
  /** `/livez` and `/readyz`; false: neither. Default: both. */
  readonly health?: HealthOptions | false;
  /** Gets a line when requests are refused for load, once a minute at most. Default: the log of `mesh`. */
  readonly log?: Log;
  /** Milliseconds from "not ready" until everybody has noticed, when draining. Default 5 000. */
  readonly discoveryWaitMs?: number;
  /** Milliseconds that an idle connection is kept for one more request, when draining. Default 1 000. */
  readonly idleWaitMs?: number;
}

const OPTIONS: OptionKinds<ServerOptions> = {
  name: "text",
  mesh: "object",
  http2: "boolean",
  tls: "object",
  posture: "text",
  keepHeaders: "list",
  authorities: "list",
  refuseUnderscores: "boolean",
  limits: "object",
  health: "any",
  log: "function",
  discoveryWaitMs: "milliseconds",
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

export interface ServerSnapshot {
  readonly name: string;
  readonly state: ServerState;
  readonly posture: Posture;
  readonly requestsInFlight: number;
  readonly connections: number;
  readonly sessions: number;
  /** By how many milliseconds the event loop was late at least, over the last half second. 0 while no requests come. */
  readonly loopDelayMs: number;
  /** Requests that were not given to the handler or were cut short, and connections closed, by reason. */
  readonly refused: Readonly<Partial<Record<CutReason, number>>>;
  readonly limits: ServerLimits;
  /** Why the certificate files in place are not used; the last good ones are. Undefined: they are. */
  readonly problem: string | undefined;
  /** Limits that a server we were given does not keep. */
  readonly weaker: readonly GivenLimit[];
  /**
   * What this server does less well because a private member of Node is not where it was: one line for
   * each, with what is lost. Empty with the versions that inmesh is tested with.
   */
  readonly degraded: readonly string[];
}

const DEFAULT_GRACE_MS = 30_000;

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
  /** Node's server, for whoever needs more of it: WebSockets, `ref`, other listeners. */
  readonly server: S;
  readonly name: string;
  readonly #posture: Posture;
  readonly #beliefs: Beliefs;
  readonly #limits: ServerLimits;
  readonly #weaker: readonly GivenLimit[];
  /** The messages of its requests are Node's own. */
  readonly #given: boolean;
  /** Told to clients over HTTP/1, as Node does where it keeps the time itself; undefined: it does. */
  readonly #idleHintMs: number | undefined;
  readonly #runtime: Runtime;
  readonly #observers: Observers | undefined;
  readonly #admission: Admission;
  readonly #keep: ReadonlySet<string>;
  readonly #reader: HeadReader;
  readonly #validator: Validator;
  readonly #chosen: ChosenRules | undefined;
  readonly #health: Health | undefined;
  readonly #replaced: ReplacedLog;
  readonly #connections: Connections;
  readonly #certificates: ServerCertificates | undefined;
  readonly #peers: SlowPeers;
  readonly #drain: Drain;
  readonly #linger: LingerOptions;
  readonly #refused = new Map<CutReason, number>();
  readonly #members = new ServerMembers();
  readonly #owner = {
    ended: (inbound: Inbound): void => this.#ended(inbound),
    misframed: (inbound: Inbound): void => this.#misframed(inbound),
    odd: (inbound: Inbound, what: CutReason): void => this.#odd(inbound, what),
    members: this.#members,
    keepAlive: undefined as string | undefined,
  };
  readonly #injectedOwner: InboundOwner = {
    ...this.#owner,
    ended: (inbound) => {
      this.#admission.inFlight--;
      observeEnd(inbound);
      if (!inbound.replied) inbound.leave();
    },
  };
  readonly #why = (): string => this.#readiness();

  /** Use `meshServer`. */
  constructor(target: RequestListener | NodeServer, options: ServerOptions) {
    if (typeof target !== "function" && !(target instanceof NetServer)) throw badTarget(target);
    assertOptions("meshServer", options, OPTIONS, OPTION_HINTS);
    const { posture = "edge", http2 = false, tls, health } = options;
    if (health !== undefined && health !== false) {
      assertOptions("meshServer: health", health, HEALTH_OPTIONS);
    }
    this.name = options.name ?? "server";
    this.#posture = posture;
    this.#beliefs = BELIEFS[posture];
    if (this.#beliefs === undefined)
      throw new TypeError(
        `meshServer: no posture ${posture}; known: ${Object.keys(BELIEFS).join(", ")}`,
      );
    const limits = withinDescriptors(limitsOf(options.limits));
    const runtime = options.mesh?.runtime ?? (ownRuntime ??= new NodeRuntime());
    this.#limits = limits;
    this.#runtime = runtime;
    this.#observers = options.mesh?.observers;
    this.#linger = { limits, runtime };
    const given = typeof target !== "function";
    const certificates =
      given || tls === undefined ? undefined : new ServerCertificates(tls, runtime);
    this.#given = given;
    this.#certificates = certificates;
    this.server = (given ? target : makeServer({ http2, tls: certificates?.options, limits })) as S;
    this.#idleHintMs = given ? undefined : limits.keepAliveIdleMs;
    if (!given && !this.#members.hintsIdle) {
      this.#owner.keepAlive = `timeout=${Math.floor(limits.keepAliveIdleMs / 1_000)}`;
    }
    this.#weaker = given ? tighten(this.server, limits) : [];
    const secure = this.server instanceof TlsServer;
    const log = options.log ?? options.mesh?.log;
    this.#admission = new Admission(limits, runtime, this.name, log);
    this.#replaced = new ReplacedLog(log);
    const keep = (this.#keep = new Set(options.keepHeaders?.map((name) => name.toLowerCase())));
    this.#reader = new HeadReader(limits, this.#beliefs, keep);
    this.#validator = new Validator(limits, secure);
    this.#chosen = ChosenRules.of(options);
    this.#health = health === false ? undefined : new Health(health);
    this.#connections = new Connections(this.server, secure, !given, limits, runtime, (reason) =>
      this.#count(reason),
    );
    certificates?.follow(this.server as unknown as TlsServer, (withinMs) =>
      this.#connections.renew(withinMs),
    );
    this.#peers = new SlowPeers(limits, runtime, {
      bodyTimedOut: (inbound) => this.#bodyTimedOut(inbound),
      writeStalled: (inbound) => this.#writeStalled(inbound),
    });
    this.#drain = new Drain({
      connections: this.#connections,
      runtime,
      discoveryWaitMs: options.discoveryWaitMs ?? 5_000,
      idleWaitMs: options.idleWaitMs ?? 1_000,
      stopListening: () => this.#stopListening(),
    });
    this.#listen(given ? undefined : target);
  }

  // ── requests ─────────────────────────────────────────────────────────────────────────────────

  /** A server that was given keeps its listeners; the mesh stands before them. */
  #listen(handler: RequestListener | undefined): void {
    const { server } = this;
    const guard: Guard = (request, response, next, asksToContinue) =>
      this.#request(request, response, next, asksToContinue);
    guardRequests(server, guard);
    if (handler !== undefined) (server as HttpServer).on("request", handler); // all four emit it alike
    const count = (reason: CutReason): void => this.#count(reason);
    guardTunnels(server, this.#chosen, count, this.#linger);
    countMalformed(server, count, (connection) => this.#isReplying(connection), this.#linger);
  }

  #request(
    request: IncomingMessage,
    response: ServerResponse,
    handler: RequestListener,
    asksToContinue: boolean,
  ): void {
    const http2 = isHttp2(request);
    const holder = holderOf(request, http2);
    if (isInjected(holder)) return this.#injected(request, response, handler);
    const connection = this.#connections.stateOf(holder);
    // Behind the last request of the connection: never answered.
    if (connection.ended) return dropSurplus(request.socket, this.#linger);
    const inbound = new Inbound(request, response, connection, this.#owner, http2);
    connection.streams++;
    if (!http2 && this.#idleHintMs !== undefined && this.#members.hintsIdle) {
      hintIdle(response, this.#idleHintMs);
    }
    if (connection.leaving) endAfter(inbound);
    let refusal = this.#reader.read(inbound) ?? this.#validator.check(inbound);
    if (inbound.odd !== undefined) this.#odd(inbound, inbound.odd);
    if (refusal === undefined && this.#health?.answers(request, response, this.#why) === true)
      return;
    if (this.#observers?.attached !== undefined)
      observeRequest(this.#observers, this.name, inbound);
    if (refusal === undefined) {
      const refused = this.#admission.refuses(inbound, inbound.remainingMs);
      if (refused !== undefined) refusal = REFUSALS[refused];
      else if (connection.active >= this.#limits.maxPipelined && !http2) {
        refusal = REFUSALS.too_many_pipelined;
      } else if (!this.#connections.misuse.holds(connection, inbound.headBytes)) {
        refusal = REFUSALS.connection_headers;
      } else if (this.#chosen !== undefined) refusal = this.#chosen.check(request);
    }
    if (refusal !== undefined) return this.#refuse(inbound, refusal);

    if (inbound.remainingMs !== Infinity) {
      inbound.deadlineAt = this.#runtime.now() + inbound.remainingMs;
    }
    this.#admission.inFlight++;
    connection.active++;
    connection.headBytes += inbound.headBytes;
    this.#peers.add(inbound);
    (response as WithInbound)[INBOUND] = inbound;
    response.writeHead = writeOwnHead;
    if (!http2) {
      watchLength(response, this.#members);
      if (!inbound.hasBody && this.#members.seesDump) replaceDump(request, endUnheard);
    }
    response.on("close", responseClosed);
    if (http2 && this.#given) {
      if (request.method === "HEAD") watchHead(response, responseClosed);
      // Node's own reply over HTTP/2 ends in a callback of the connection; ours knows its context.
      response.emit = emitInContext as typeof response.emit;
    }
    if (inbound.chunked || (http2 && inbound.hasBody)) {
      filterTrailers(inbound, this.#limits, this.#chosen?.refusesUnderscores === true);
    }
    if (asksToContinue) response.writeContinue();
    if (http2) {
      const ofRequest = Object.getPrototypeOf(request) as object;
      const ofResponse = Object.getPrototypeOf(response) as object;
      serveInContext(inbound, handler);
      if (isReplaced(request, ofRequest) || isReplaced(response, ofResponse)) {
        Object.setPrototypeOf(request, ofRequest);
        Object.setPrototypeOf(response, ofResponse);
        return this.#refuseHttp1(inbound);
      }
    } else serveInContext(inbound, handler);
    if (inbound.hasBody || request.listenerCount("end") > 0) {
      (request as WithInbound)[INBOUND] = inbound;
      if (http2 && this.#given && inbound.hasBody) watchBody(request);
      else request.emit = emitInContext as typeof request.emit;
    }
  }

  /** What its handler has begun goes on with messages whose client has gone. */
  #refuseHttp1(inbound: Inbound): void {
    this.#count("http1_application");
    inbound.observed?.ended("failure", REFUSALS.bad_version.status, "http1_application");
    this.#replaced.say(this.name);
    answerAndCut(inbound, REFUSALS.bad_version.status);
    inbound.leave();
  }

  /** Costs O(requests in progress), and is asked only of connections that have some. */
  #isReplying(connection: ConnectionState): boolean {
    for (let one = this.#peers.first; one !== undefined; one = one.next) {
      if (one.connection === connection && one.response.headersSent) return true;
    }
    return false;
  }

  #injected(request: IncomingMessage, response: ServerResponse, handler: RequestListener): void {
    const connection = this.#connections.stateOf({}); // what is refused may say that it ends
    const inbound = injectedOf(request, response, connection, this.#injectedOwner);
    let refusal = this.#reader.read(inbound) ?? this.#validator.checkInjected(inbound);
    dropClaims(request, this.#keep);
    if (inbound.odd !== undefined) this.#count(inbound.odd);
    if (refusal === undefined && this.#health?.answers(request, response, this.#why) === true)
      return;
    if (this.#observers?.attached !== undefined)
      observeRequest(this.#observers, this.name, inbound);
    if (refusal === undefined) {
      const refused = this.#admission.refuses(inbound, inbound.remainingMs);
      refusal = refused === undefined ? this.#chosen?.check(request) : REFUSALS[refused];
    }
    if (refusal !== undefined) {
      inbound.hasBody = false; // it is no stream that holds anything up
      return this.#refuse(inbound, refusal);
    }
    if (inbound.remainingMs !== Infinity) {
      inbound.deadlineAt = this.#runtime.now() + inbound.remainingMs;
    }
    this.#admission.inFlight++;
    serveInjected(inbound, handler);
  }

  #refuse(inbound: Inbound, refusal: Refusal): void {
    this.#count(refusal.reason);
    inbound.observed?.ended(outcomeOfRefusal(refusal), refusal.status, refusal.reason);
    // Its connection goes on, where one of HTTP/1 is closed at once.
    if (refusal.close && inbound.http2) this.#connections.misuse.glitch(inbound.connection);
    refuse(inbound, refusal, this.#beliefs.tellsReasons, this.#linger);
  }

  #count(reason: CutReason): void {
    this.#refused.set(reason, (this.#refused.get(reason) ?? 0) + 1);
  }

  /** The reply is out, or its connection has gone. */
  #ended(inbound: Inbound): void {
    const { connection, request, response } = inbound;
    this.#admission.inFlight--;
    connection.active--;
    connection.headBytes -= inbound.headBytes;
    if (inbound.http2 && isResetByPeer(response as unknown as Http2ServerResponse)) {
      const { deadlineAt, remainingMs } = inbound;
      this.#connections.misuse.reset(connection, deadlineAt - remainingMs, deadlineAt);
    }
    if (inbound.last) {
      // Or the application said keep-alive: then what follows is served, unless it was dropped.
      if (connection.surplus) request.socket.destroySoon();
      else connection.ended = false;
    }
    this.#peers.remove(inbound);
    // Its timer was the socket's. Node sets it anew where it watches idle connections.
    const isOurs = this.#idleHintMs !== undefined && !inbound.http2;
    if (isOurs && inbound.watched && connection.active === 0) request.socket.setTimeout(0);
    if (!response.writableEnded) {
      observeEnd(inbound);
      return inbound.leave();
    }
    if (!inbound.http2 && isShort(response, inbound.sentBytes, this.#members)) {
      return this.#misframed(inbound);
    }
    observeEnd(inbound);
    if (!inbound.hasBody || request.complete || request.destroyed) return;
    // A handler that goes on reading after its reply may; nobody's body is read for a second only.
    if (request.listenerCount("data") > 0 || request.listenerCount("readable") > 0) {
      connection.unread = request;
      return;
    }
    linger(request, this.#linger, () => {
      if (!request.complete) cutShort(inbound);
    });
  }

  #bodyTimedOut(inbound: Inbound): void {
    const { status, reason } = REFUSALS.body_timeout;
    const isHeadOut = inbound.response.headersSent;
    if (!answerAndCut(inbound, status)) return;
    inbound.observed?.ended("abandoned", isHeadOut ? inbound.response.statusCode : status, reason);
    this.#count("body_timeout");
    inbound.leave();
  }

  #odd(inbound: Inbound, what: CutReason): void {
    this.#count(what);
    const { connection, http2, response } = inbound;
    if (!this.#connections.misuse.glitch(connection) || http2) return;
    if (response.headersSent) connection.leaving = true;
    else endAfter(inbound);
  }

  #misframed(inbound: Inbound): void {
    if (inbound.sentBytes === Infinity) return; // it goes on writing
    inbound.sentBytes = Infinity;
    this.#count("content_length_mismatch");
    inbound.observed?.ended("failure", inbound.response.statusCode, "content_length_mismatch");
    cutShort(inbound);
  }

  #writeStalled(inbound: Inbound): void {
    this.#count("write_stall");
    inbound.observed?.ended("abandoned", inbound.response.statusCode, "write_stall");
    cutShort(inbound);
  }

  #readiness(): string {
    if (this.#drain.state !== "open") return this.#drain.state;
    if (this.#certificates?.expired === true) return "certificate expired";
    return this.#admission.overloaded ? "overloaded" : "ok";
  }

  // ── lifetime ─────────────────────────────────────────────────────────────────────────────────

  /**
   * Starts to listen; `port` 0, the default, chooses one. Rejects if it cannot. Of `{ path }`, a Unix
   * socket, what a killed process left behind is taken away, unless somebody answers on it.
   */
  async listen(port: number | ListenOptions = 0, host?: string): Promise<AddressInfo> {
    if (typeof port !== "number" && port.path !== undefined) await removeStaleSocket(port.path);
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
    return this.#drain.state;
  }

  /**
   * Leaves without losing a request: not ready, `discoveryWaitMs` later no new connections and
   * `Connection: close` or GOAWAY, then the end of what is in progress. Whatever is left `graceMs`
   * after the call (default 30 000) is destroyed. Idempotent: later calls give the same promise.
   */
  drain(graceMs: number = DEFAULT_GRACE_MS): Promise<void> {
    return this.#drain.start(graceMs, false);
  }

  /**
   * The same without waiting for anybody to notice; `graceMs` 0 destroys at once. Idempotent. With a
   * function instead, that is called when it has closed, as by `close` of Node's servers.
   */
  close(graceMs: number | (() => void) = DEFAULT_GRACE_MS): Promise<void> {
    if (typeof graceMs === "function") return this.close().then(graceMs);
    return this.#drain.start(graceMs, true);
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
    for (let inbound = this.#peers.first; inbound !== undefined; inbound = inbound.next) {
      // Newest first: of pipelined requests only the last may say it. A head that is out has promised
      // to keep the connection: the next reply on it will say close.
      const { connection, response } = inbound;
      if (inbound.http2) inbound.last = true; // its handler has the response
      else if (!connection.ended && !response.headersSent) endAfter(inbound);
    }
  }

  /** State behind every decision, as plain data. */
  snapshot(): ServerSnapshot {
    return {
      name: this.name,
      state: this.#drain.state,
      posture: this.#posture,
      requestsInFlight: this.#admission.inFlight,
      connections: this.#connections.sockets.size,
      sessions: this.#connections.sessions,
      loopDelayMs: this.#admission.loopDelayMs,
      refused: Object.fromEntries(this.#refused),
      limits: this.#limits,
      problem: this.#certificates?.problem,
      weaker: this.#weaker,
      degraded: this.#members.degraded.list,
    };
  }
}

function badTarget(target: unknown): TypeError {
  const got = target === null || typeof target !== "object" ? String(target) : "an object";
  return new TypeError(
    `meshServer: takes a listener (request, response) or a server of node:http, https or http2, got ${got}; frameworks have one, as Express's app, Koa's app.callback() and Fastify's serverFactory`,
  );
}

let ownRuntime: Runtime | undefined;

function isHttp2(request: IncomingMessage): boolean {
  return !(request instanceof NODE_HTTP.IncomingMessage) && "stream" in request;
}

/** What its connection's state hangs on: the session, or the socket. */
function holderOf(request: IncomingMessage, http2: boolean): WithConnection {
  return http2
    ? (request as unknown as { stream: { session: WithConnection } }).stream.session
    : (request.socket as WithConnection);
}

/** The reply says close, and nothing behind its request is served. */
function endAfter(inbound: Inbound): void {
  inbound.last = true;
  if (inbound.http2) {
    inbound.response.setHeader(LEAVING, "1"); // of a refusal; a handler's reply gets it with its head
    return;
  }
  sayClose(inbound.response);
  inbound.connection.ended = true;
}
