/**
 * The connections of a server: how many requests each has in progress, how old it is, and which may
 * be closed without losing anything. HTTP/2 sessions are asked to leave in two steps: replies ask for no
 * further streams, and GOAWAY follows when that has arrived. The two GOAWAYs of RFC 9113 §6.8 are
 * not to be had from Node: after the first one its nghttp2 ignores every new stream without a word.
 */
import type { Server as HttpServer } from "node:http";
import { Server as NetServer, type Socket } from "node:net";
import {
  endOfAge,
  endSocketFirst,
  calmDown,
  measureConnections,
  Tally,
  type CloseTrigger,
  type ConnectionRecord,
  type LeavingConnections,
  type Runtime,
  type Timer,
} from "@inmesh/core/spi";
import { CONNECTION, type ConnectionState, type WithConnection } from "./connection-state.ts";
import type { ServerLimits } from "./limits.ts";
import type { CutReason } from "./cuts.ts";
import { callbackId } from "./in-context.ts";
import type { Http2Session } from "./listeners.ts";
import { makeEnd, socketOf } from "./made-to-end.ts";
import { HttpMisuse } from "./misuse.ts";
import { watchResets } from "./own-resets.ts";

/** From the first reply that asks for it to GOAWAY. */
const GOAWAY_GAP_MS = 1_000;
/** Looks at the ages of connections, and at idle ones, per such time. */
const LOOKS = 60;
const IDLE_LOOKS = 4;
const MIN_LOOK_MS = 100;
const MAX_LOOK_MS = 60_000;

export class Connections implements LeavingConnections {
  /** Raw sockets, below TLS if there is TLS: destroying one ends all above it. */
  readonly sockets: Set<Socket> = new Set();
  readonly #sessions = new Set<Http2Session>();
  /** Sockets that requests are read from: above TLS if there is TLS. */
  readonly #readable = new Set<Socket>();
  readonly #server: NetServer;
  readonly #limits: ServerLimits;
  readonly #runtime: Runtime;
  readonly #count: (reason: CutReason) => void;
  readonly #record: ConnectionRecord | undefined;
  readonly misuse: HttpMisuse;
  readonly #lookMs: number;
  readonly #closesIdle: boolean;
  #accepted = 0;
  #leaving = false;
  #destroyed = false;
  #lookTimer: Timer | undefined = undefined;
  onEmpty: (() => void) | undefined = undefined;

  /** `closesIdle`: Node does not close what is idle for long. `record`: where they are reported; default nowhere. */
  constructor(
    server: NetServer,
    secure: boolean,
    closesIdle: boolean,
    limits: ServerLimits,
    runtime: Runtime,
    count: (reason: CutReason) => void,
    record?: ConnectionRecord,
  ) {
    this.#server = server;
    this.#record = record;
    this.#closesIdle = closesIdle;
    this.#limits = limits;
    this.#runtime = runtime;
    this.#count = count;
    const tellToGo = (session: Http2Session): void => {
      calmDown(session);
      makeEnd(session, this.stateOf(session as WithConnection), runtime);
    };
    this.misuse = new HttpMisuse(limits, runtime, tellToGo, count);
    const { maxConnectionAgeMs, keepAliveIdleMs, headersCheckMs } = limits;
    this.#lookMs = Math.min(
      maxConnectionAgeMs / LOOKS,
      keepAliveIdleMs / IDLE_LOOKS,
      Math.max(headersCheckMs, MIN_LOOK_MS),
      MAX_LOOK_MS,
    );
    server.on("drop", () => count("connections"));
    server.on("connection", (socket: Socket) => this.#connected(socket, secure));
    if (secure) {
      server.on("secureConnection", (socket: Socket) => {
        socket.on("error", ignore);
        this.#ready(socket);
      });
      server.on("tlsClientError", (error: { code?: unknown }) => {
        const isLate = error.code === "ERR_TLS_HANDSHAKE_TIMEOUT";
        count(isLate ? "handshake_timeout" : "handshake_failed");
      });
    }
    server.on("session", (session: Http2Session) => this.#opened(session));
    server.on("sessionError", ignore);
    const isHttp2 = "updateSettings" in server;
    measureConnections(server, secure, record, {
      spoken: (socket) => {
        const { alpnProtocol } = socket as Socket & { readonly alpnProtocol?: unknown };
        return isHttp2 && (!secure || alpnProtocol === "h2") ? "http2" : "http1";
      },
      endedBy: (socket) => this.#endedBy(socket),
    });
  }

  /** What ended a connection, as far as that is known here. */
  #endedBy(socket: Socket): CloseTrigger | undefined {
    const own = (socket as WithConnection)[CONNECTION];
    const state = own?.carried ?? own;
    if (state?.evicted === true) return "glitch";
    if (socket.errored !== null) return "error";
    if (this.#destroyed) return "shutdown";
    if (this.#leaving) return "drain";
    if (state?.leaving === true) return state.renewed ? "identity" : "age";
    // A session ends with its socket: who ended that first is known by the session.
    return state?.session !== undefined && !state.closed ? "peer" : undefined;
  }

  /** The state of a socket or session, made when it is first asked for. */
  stateOf(holder: WithConnection): ConnectionState {
    return (holder[CONNECTION] ??= {
      endsAt: endOfAge(this.#limits.maxConnectionAgeMs, this.#runtime),
      trust: undefined,
      peer: undefined,
      active: 0,
      pipelined: false,
      leaving: this.#leaving,
      ended: false,
      surplus: false,
      closing: false,
      session: undefined,
      carried: undefined,
      closed: false,
      renewed: false,
      evicted: false,
      streams: 0,
      resets: 0,
      recentResets: new Tally(),
      headBytes: 0,
      glitches: new Tally(),
      ending: false,
      seen: 0,
      seenBytes: 0,
      unread: undefined,
      shown: 0,
      hidden: 0,
      waiting: 0,
      holder,
      seenAt: this.#runtime.now(),
      callbackId: undefined,
      parsed: true,
    });
  }

  get size(): number {
    return this.sockets.size;
  }

  /** TLS handshakes in progress. */
  get handshakes(): number {
    return this.sockets.size - this.#readable.size;
  }

  get accepted(): number {
    return this.#accepted;
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  #connected(socket: Socket, secure: boolean): void {
    this.#accepted++;
    if (secure && this.handshakes >= this.#limits.maxHandshakes) {
      this.#count("handshakes");
      socket.destroy();
      return;
    }
    this.sockets.add(socket);
    if (!secure) this.#ready(socket);
    socket.on("close", () => {
      this.sockets.delete(socket);
      if (this.sockets.size === 0) this.onEmpty?.();
    });
    this.#look();
  }

  /** A request may come on it now. */
  #ready(socket: Socket): void {
    this.#readable.add(socket);
    this.stateOf(socket as WithConnection);
    socket.on("close", () => this.#readable.delete(socket));
  }

  #opened(session: Http2Session): void {
    this.#sessions.add(session);
    const state = this.stateOf(session as WithConnection);
    state.session = session;
    // Node makes sessions in its own listener for connections, which runs before ours.
    process.nextTick(endByItsSocket, session);
    // Without a listener it would be an uncaught exception of the host.
    session.on("error", ({ code }: { code?: unknown }) => {
      if (String(code).startsWith("ERR_HTTP2")) this.#count("http2_error");
    });
    session.on("close", () => this.#sessions.delete(session));
    this.misuse.watch(session, state);
    session.prependListener("stream", (stream) => {
      state.shown++;
      watchResets(stream);
      state.callbackId = callbackId();
    });
    // It came, and asked for nothing. GOAWAY loses nothing that is on its way.
    this.#runtime.after(
      this.#limits.headersTimeoutMs,
      (unused) => {
        if (state.shown === 0) this.#close(unused);
      },
      session,
    );
    if (this.#leaving) this.#goAway(session);
  }

  #look(): void {
    this.#lookTimer ??= this.#runtime.after(
      this.#lookMs,
      () => {
        this.#lookTimer = undefined;
        this.#lookAtAll();
        if (this.sockets.size > 0) this.#look();
      },
      undefined,
    );
  }

  #lookAtAll(): void {
    const now = this.#runtime.now();
    for (const session of this.#sessions) markUnparsed(session);
    for (const socket of this.#readable) {
      const state = this.stateOf(socket as WithConnection);
      ages(state, now);
      if (state.parsed && this.#isIdle(socket, state, now)) socket.destroy();
    }
    for (const session of this.#sessions) {
      if (session.destroyed) continue;
      const state = this.stateOf(session as WithConnection);
      this.#countHidden(session, state);
      if (ages(state, now)) this.#goAway(session);
      else if (state.active > 0 || state.seen !== state.streams) this.#seen(state, 0, now);
      else if (now - state.seenAt >= this.#limits.keepAliveIdleMs) this.#close(session);
    }
  }

  /** Only a look notes the time: a request pays nothing. */
  #seen(state: ConnectionState, bytes: number, now: number): void {
    state.seen = state.streams;
    state.seenBytes = bytes;
    state.seenAt = now;
  }

  /**
   * Node would arm a timer after every reply and disarm it for every request, a twentieth of what both
   * cost it. A server that we were given keeps that. Empty lines between requests are no request: they
   * get as much time as a head would.
   */
  #isIdle(socket: Socket, state: ConnectionState, now: number): boolean {
    const { bytesRead } = socket;
    const goesOn = bytesRead !== state.seenBytes;
    if (state.unread?.complete === true || state.unread?.destroyed === true) {
      state.unread = undefined;
    }
    const isRead = goesOn && state.unread !== undefined;
    if (state.active > 0 || state.seen !== state.streams || isRead) {
      this.#seen(state, bytesRead, now);
      return false;
    }
    const { keepAliveIdleMs, headersTimeoutMs } = this.#limits;
    const idleMs = now - state.seenAt;
    if (!goesOn) return this.#closesIdle && idleMs >= keepAliveIdleMs;
    const { keepAliveTimeout = 0 } = this.#server as Partial<HttpServer>;
    if (!this.#closesIdle && keepAliveTimeout === 0) return false; // the application said: never
    return idleMs >= Math.max(keepAliveIdleMs, keepAliveTimeout) + headersTimeoutMs;
  }

  /**
   * Streams that nghttp2 or Node has reset before they were requests, because their heads had too many
   * fields or were too large: each has cost the unpacking of a head, and nothing else counts them.
   */
  #countHidden(session: Http2Session, state: ConnectionState): void {
    const last = session.state.lastProcStreamID ?? 0;
    const hidden = Math.floor((last + 1) / 2) - state.shown; // every second number from 1 on; 0 is none
    for (; state.hidden < hidden; state.hidden++) {
      this.#count("hidden_streams");
      this.#record?.reset("limit");
      if (this.misuse.glitch(state)) state.hidden = hidden;
    }
  }

  /** Those that are open now leave one by one within `withinMs`. */
  renew(withinMs: number): void {
    const now = this.#runtime.now();
    const lastAt = now + withinMs;
    for (const holder of [...this.#readable, ...this.#sessions]) {
      const state = (holder as WithConnection)[CONNECTION]!;
      if (state.endsAt > lastAt) state.renewed = true;
      if (state.endsAt > lastAt) state.endsAt = now + this.#runtime.random() * withinMs;
    }
    if (withinMs === 0) this.#lookAtAll();
    else this.#look();
  }

  /** Replies say close, or leaving, and GOAWAY follows; what is in progress goes on. */
  leave(): void {
    this.#leaving = true;
    for (const socket of this.#readable) (socket as WithConnection)[CONNECTION]!.leaving = true;
    for (const session of this.#sessions) this.#goAway(session);
  }

  /** The server listens once more after its end: new connections are as at first. */
  stay(): void {
    this.#leaving = this.#destroyed = false;
  }

  get leaving(): boolean {
    return this.#leaving;
  }

  #goAway(session: Http2Session): void {
    (session as WithConnection)[CONNECTION]!.leaving = true;
    this.#runtime.after(GOAWAY_GAP_MS, (one) => this.#close(one), session);
  }

  /** Sends GOAWAY with the last stream; later ones are known to be unprocessed. Ends with the last. */
  #close(session: Http2Session): void {
    if (session.closed || session.destroyed) return;
    this.stateOf(session as WithConnection).closed = true;
    makeEnd(session, this.stateOf(session as WithConnection), this.#runtime);
    session.close();
  }

  /** A stream was reset before its end. */
  streamReset(by: "client" | "server"): void {
    this.#record?.reset(by);
  }

  /** Closes those on which nothing has begun: nothing is lost. */
  closeIdle(): void {
    (this.#server as Partial<HttpServer>).closeIdleConnections?.();
    // Node counts a connection that has not sent a byte yet as busy with its first request.
    for (const socket of this.sockets) if (socket.bytesRead === 0) socket.destroy();
  }

  destroy(): void {
    // At the end of a drain there is none left.
    this.#destroyed ||= this.sockets.size > 0;
    this.#lookTimer?.cancel();
    for (const session of this.#sessions) session.destroy();
    for (const socket of this.sockets) socket.destroy();
  }
}

function ignore(): void {}

function endByItsSocket(session: Http2Session): void {
  if (session.destroyed) return;
  const socket = socketOf(session);
  if (socket === undefined) return;
  (socket as WithConnection)[CONNECTION]!.carried = (session as WithConnection)[CONNECTION];
  endSocketFirst(session, socket);
}

/** Its socket is not Node's HTTP/1 parser's. A session is opened before we hear of its socket. */
function markUnparsed(session: Http2Session): void {
  const state = (session as WithConnection)[CONNECTION]!;
  if (!state.parsed || session.destroyed) return;
  state.parsed = false;
  // `session.socket` stands for the socket below, also for what hangs on it.
  const below = (session.socket as WithConnection)[CONNECTION];
  if (below !== undefined) below.parsed = false;
}

/** True when it has become old since the last look. */
function ages(state: ConnectionState, now: number): boolean {
  if (state.leaving || now < state.endsAt) return false;
  return (state.leaving = true);
}
