/**
 * The HTTP/2 connections to one endpoint: as few as the streams need. What is to be sent waits until the peer has
 * said its settings, which proves that it speaks HTTP/2 and how many streams it takes; when all are taken, one
 * further connection is dialled at a time (decision 9). Who reads and writes the frames is the business of the two
 * pools that extend it: over node:http2 beside this file, and with a codec of its own in the proxy.
 */
import type { Socket } from "node:net";
import {
  connectError,
  isPeerAlert,
  protocolMismatch,
  Redial,
  type CloseTrigger,
  type MeshError,
  type Runtime,
  type ServiceConfig,
  type Timer,
  type Where,
} from "@inmesh/core/spi";
import type { Connector } from "../connector.ts";

/** A hundred streams fit into one where servers say what they take; more is for when they do not. */
const MAX_CONNECTIONS = 4;

/** One connection, as its pool sees it. */
export interface PooledSession {
  /** Streams that can start now. */
  readonly room: number;
  /** Streams in progress. */
  readonly streams: number;
  /** It takes no new streams. */
  readonly ending: boolean;
  /** It is asked whether it is alive: it will have room, or be gone. */
  readonly proving: boolean;
  /** The peer has answered a stream. */
  readonly served: boolean;
  /** Why it ended; undefined: without a reason. */
  readonly error: (Error & { readonly code?: unknown }) | undefined;
  /** What ends it, as far as that is known here. */
  readonly endedBy: CloseTrigger | undefined;
  /** Takes no new streams, and ends with its last. */
  close(): void;
  /** Ends now; its streams fail. */
  destroy(error: Error | undefined): void;
}

/** The pool, as its connections see it. */
export interface SessionOwner<Session> {
  readonly where: Where;
  /** The peer's settings are here: streams may start. Again when they change, and when a stream has ended. */
  roomChanged(session: Session): void;
  /** One of its streams was reset. */
  streamReset(by: "client" | "server"): void;
  /** No new streams: the peer leaves, ids run out, or too many streams came to nothing. */
  leaving(session: Session): void;
  /** The peer takes no requests on it. True: it is to be left for another. */
  replaces(session: Session): boolean;
  /** All streams know of it. `refusing`: it was left because the peer refuses its streams. */
  closed(session: Session, refusing: boolean): void;
}

export abstract class SessionPool<
  Session extends PooledSession,
  Waiting,
> implements SessionOwner<Session> {
  protected readonly service: ServiceConfig;
  protected readonly runtime: Runtime;
  protected readonly sessions: Set<Session> = new Set();
  /** Takes nothing new. */
  protected isClosed = false;
  readonly #connector: Connector;
  readonly #redial: Redial;
  #queue: Waiting[] = [];
  #probes: ((reached: boolean) => void)[] = [];
  /** The connection that is being made, up to its settings. */
  #settling: Session | undefined = undefined;
  #settlingTimer: Timer | undefined = undefined;
  #dialling = false;
  #redialling: Timer | undefined = undefined;
  #closing: Promise<void> | undefined = undefined;
  #onEmpty: (() => void) | undefined = undefined;

  constructor(service: ServiceConfig, connector: Connector, runtime: Runtime) {
    this.service = service;
    this.#connector = connector;
    this.runtime = runtime;
    this.#redial = new Redial(runtime);
  }

  // ── what extends it ──────────────────────────────────────────────────────────────────────────

  /** Begins HTTP/2 on a socket. */
  protected abstract speak(socket: Socket): Session;
  /** TLS has agreed on another protocol: `surrender` or `notReached`. */
  protected abstract notAgreed(socket: Socket): void;
  /** There is room. Must not throw. */
  protected abstract start(session: Session, waiting: Waiting): void;
  protected abstract refuse(waiting: Waiting, error: Error): void;
  /** Ends all streams now, with this error. */
  protected abstract breakOff(error: Error): void;

  /** It was given up while it waited. */
  protected isOver(_waiting: Waiting): boolean {
    return false;
  }

  /** Streams that are not over yet. */
  protected get streams(): number {
    let streams = 0;
    for (const session of this.sessions) streams += session.streams;
    return streams;
  }

  // ── what waits ───────────────────────────────────────────────────────────────────────────────

  get where(): Where {
    return this.#connector.where;
  }

  get queued(): number {
    return this.#queue.length;
  }

  /** Starts it, or keeps it until there is room. False: it waits. */
  protected place(waiting: Waiting): boolean {
    const session = this.#queue.length === 0 ? this.#roomiest() : undefined;
    if (session !== undefined) {
      this.start(session, waiting);
      return true;
    }
    if (this.#queue.length > 0 && this.isOver(this.#queue[0]!)) this.forgetOver();
    this.#queue.push(waiting);
    this.#grow();
    return false;
  }

  /** Those that were given up are not worth their place. */
  protected forgetOver(): void {
    this.#queue = this.#queue.filter((one) => !this.isOver(one));
  }

  #roomiest(): Session | undefined {
    let best: Session | undefined;
    for (const session of this.sessions) {
      if (session.room > 0 && (best === undefined || session.streams < best.streams)) {
        best = session;
      }
    }
    return best;
  }

  /** There may be room. */
  protected drain(): void {
    while (this.#queue.length > 0) {
      const first = this.#queue[0]!;
      if (!this.isOver(first)) {
        const session = this.#roomiest();
        if (session === undefined) break;
        this.#queue.shift();
        this.start(session, first);
      } else this.#queue.shift();
    }
    this.#grow();
    this.#emptied();
  }

  #emptied(): void {
    if (this.#onEmpty === undefined || this.#queue.length > 0 || this.streams > 0) return;
    this.#onEmpty();
  }

  /** What waits is no longer this pool's, which is not the one that reaches the endpoint. */
  protected surrender(): Waiting[] {
    this.#dialling = false;
    this.#answerProbes(true);
    const queue = this.#queue;
    this.#queue = [];
    this.#emptied();
    return queue;
  }

  #failAll(error: Error): void {
    const queue = this.#queue;
    this.#queue = [];
    for (const waiting of queue) this.refuse(waiting, error);
    this.#emptied();
  }

  // ── its life ─────────────────────────────────────────────────────────────────────────────────

  /** Completes a handshake and keeps the connection. False: it could not. */
  probe(): Promise<boolean> {
    if (this.isClosed) return Promise.resolve(false);
    return new Promise((resolve) => {
      this.#probes.push(resolve);
      this.#grow();
    });
  }

  #answerProbes(reached: boolean): void {
    const probes = this.#probes;
    this.#probes = [];
    for (const answer of probes) answer(reached);
  }

  /** Takes nothing new; resolves when what is queued and in flight has ended. Idempotent. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    this.isClosed = true;
    this.#connector.close();
    if (this.#queue.length > 0 || this.streams > 0) {
      await new Promise<void>((resolve) => (this.#onEmpty = resolve));
    }
    this.#end();
  }

  /** Ends everything now, with this error for what is queued and in flight. */
  destroy(error: Error): void {
    this.isClosed = true;
    this.#failAll(error);
    this.#connector.destroy();
    this.#end();
    this.breakOff(error);
    for (const session of this.sessions) session.destroy(undefined);
    this.#onEmpty?.();
  }

  #end(): void {
    this.#redialling?.cancel();
    this.#settling?.destroy(undefined);
    this.#answerProbes(false);
    for (const session of this.sessions) session.close();
  }

  // ── connections ──────────────────────────────────────────────────────────────────────────────

  #grow(): void {
    if (this.#dialling || (this.#queue.length === 0 && this.#probes.length === 0)) return;
    const { maxConnectionsPerEndpoint } = this.service.limits;
    let open = 0;
    for (const session of this.sessions) {
      if (session.proving) return; // it will have room, or be gone
      if (!session.ending) open++;
    }
    if (open >= Math.min(maxConnectionsPerEndpoint, MAX_CONNECTIONS)) return;
    const pauseMs = this.#redial.pauseMs(this.runtime.now());
    if (pauseMs > 0) {
      this.#redialling ??= this.runtime.after(pauseMs, redial, this, true);
      return;
    }
    this.#dialling = true;
    this.#connector.dial((error, socket) => {
      if (this.isClosed && this.#queue.length === 0) {
        this.#dialling = false;
        socket?.destroy();
      } else if (error !== null) this.notReached(error);
      else this.dialled(socket!);
    });
  }

  /** Writer: its timer. */
  redial(): void {
    this.#redialling = undefined;
    this.#grow();
  }

  /** A socket to the endpoint is open. */
  protected dialled(socket: Socket): void {
    const { alpnProtocol } = socket as Socket & { readonly alpnProtocol?: unknown };
    if (this.service.scheme === "https" && alpnProtocol !== "h2") return this.notAgreed(socket);
    const session = this.speak(socket);
    this.#settling = session;
    this.#connector.explain(socket, () => session.endedBy);
    const { connectMs } = this.service.timeouts;
    this.#settlingTimer = this.runtime.after(
      connectMs,
      (one) => one.destroy(new Error(`no settings within ${connectMs} ms`)),
      session,
    );
  }

  protected notReached(error: MeshError): void {
    this.#dialling = false;
    this.#answerProbes(false);
    this.#redial.failed();
    // Others are in use: what waits may still get a stream there.
    if (this.sessions.size === 0) this.#failAll(error);
    else this.#grow();
  }

  // ── what they say ────────────────────────────────────────────────────────────────────────────

  roomChanged(session: Session): void {
    if (this.#settling === session) {
      this.#settled();
      this.#dialling = false;
      this.sessions.add(session);
      this.#answerProbes(true);
    }
    this.drain();
  }

  #settled(): void {
    this.#settling = undefined;
    this.#settlingTimer?.cancel();
  }

  streamReset(by: "client" | "server"): void {
    this.#connector.streamReset(by);
  }

  leaving(_session: Session): void {
    this.#grow();
  }

  replaces(session: Session): boolean {
    return this.#redial.replaces(session.served);
  }

  closed(session: Session, refusing: boolean): void {
    if (this.#settling === session) {
      this.#settled();
      return this.notReached(unsettled(this.where, session.error));
    }
    this.sessions.delete(session);
    if (!refusing) this.#redial.ended(session.served);
    this.drain();
  }
}

function redial(pool: { redial(): void }): void {
  pool.redial();
}

/** It connected, and ended before its settings: nothing of a request was sent. */
function unsettled(where: Where, cause: PooledSession["error"]): MeshError {
  if (cause === undefined) return connectError(where, new Error("closed at once"), false);
  if (isPeerAlert(cause)) return connectError(where, cause, true);
  const spoke = cause.code === "ERR_HTTP2_ERROR" || cause.code === undefined;
  return spoke ? protocolMismatch(where, cause.message, cause) : connectError(where, cause, false);
}
