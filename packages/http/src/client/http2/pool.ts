/**
 * The HTTP/2 connections to one endpoint: as few as the streams need. A request waits until the peer
 * has said its settings, which proves that it speaks HTTP/2 and how many streams it takes; when all
 * are taken, one further connection is dialled at a time. Where TLS agrees on HTTP/1.1 instead, all
 * goes to a pool of that.
 */
import type { Socket } from "node:net";
import {
  connectError,
  isPeerAlert,
  protocolMismatch,
  Redial,
  type MeshError,
  type Runtime,
  type ServiceConfig,
  type Timer,
  type Where,
} from "@inmesh/core/spi";
import type { Connector } from "../connector.ts";
import type { Http1Pool, HttpPool, PoolHandler } from "../pool.ts";
import type { HttpRequest } from "../request.ts";
import { sentBody, type SentBody } from "./body.ts";
import { requestFields } from "./fields.ts";
import { Http2Session, type SessionOwner } from "./session.ts";
import { Http2Stream } from "./stream.ts";
import type { OutgoingHttpHeaders } from "node:http2";

/** A hundred streams fit into one where servers say what they take; more is for when they do not. */
export const MAX_CONNECTIONS = 4;
/** An endpoint may be replaced by one that does speak HTTP/2. */
const REMEMBER_FALLBACK_MS = 300_000;
const MAX_PATIENCE = 8;

interface Waiting {
  /** For the fallback, which takes requests as they are. */
  readonly request: HttpRequest;
  readonly fields: OutgoingHttpHeaders;
  readonly body: SentBody | undefined;
  readonly handler: PoolHandler;
}

export class Http2Pool implements HttpPool, SessionOwner {
  readonly #service: ServiceConfig;
  readonly #connector: Connector;
  readonly #runtime: Runtime;
  readonly #where: Where;
  readonly #makeFallback: () => Http1Pool;
  readonly #sessions = new Set<Http2Session>();
  readonly #streams = new Set<Http2Stream>();
  #queue: Waiting[] = [];
  #probes: ((reached: boolean) => void)[] = [];
  /** The connection that is being made, up to its settings. */
  #settling: Http2Session | undefined = undefined;
  #dialling = false;
  #patience = 1;
  readonly #redial: Redial;
  #redialling: Timer | undefined = undefined;
  #fallback: Http1Pool | undefined = undefined;
  #fallbackUntil = 0;
  /** Fallbacks of before, with calls still in flight. */
  readonly #former = new Set<Http1Pool>();
  #closed = false;
  #closing: Promise<void> | undefined = undefined;
  #onEmpty: (() => void) | undefined = undefined;

  constructor(
    service: ServiceConfig,
    connector: Connector,
    runtime: Runtime,
    makeFallback: () => Http1Pool,
  ) {
    this.#service = service;
    this.#connector = connector;
    this.#runtime = runtime;
    this.#redial = new Redial(runtime);
    this.#makeFallback = makeFallback;
    this.#where = connector.where;
  }

  dispatch(request: HttpRequest, handler: PoolHandler): boolean {
    const fallback = this.#fallback;
    if (fallback !== undefined) {
      if (this.#closed || this.#runtime.now() < this.#fallbackUntil) {
        return fallback.dispatch(request, handler);
      }
      this.#fallback = undefined;
      this.#former.add(fallback);
      const forget = (): void => void this.#former.delete(fallback);
      fallback.close().then(forget, forget);
    }
    if (this.#closed) {
      handler.onResponseError!(undefined as never, new Error("the pool is closed"));
      return false;
    }
    const { scheme, authority, name } = this.#service;
    const waiting: Waiting = {
      request,
      fields: requestFields(request, scheme, authority, name),
      body: sentBody(request.body),
      handler,
    };
    const session = this.#queue.length === 0 ? this.#roomiest() : undefined;
    if (session !== undefined) {
      this.#start(session, waiting);
      return true;
    }
    this.#queue.push(waiting);
    this.#grow();
    return false;
  }

  get open(): number {
    return this.#fallbacks().reduce((sum, pool) => sum + pool.open, this.#sessions.size);
  }

  get application(): string | undefined {
    return this.#sessions.size > 0 ? "h2" : this.#fallback?.application;
  }

  explain(error: Error): Error {
    return this.#fallback?.explain(error) ?? error;
  }

  probe(): Promise<boolean> {
    if (this.#fallback !== undefined) return this.#fallback.probe();
    return new Promise((resolve) => {
      this.#probes.push(resolve);
      this.#grow();
    });
  }

  prove(): void {
    for (const session of this.#sessions) session.prove(this.#service.timeouts.connectMs);
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#closed = true;
    this.#connector.close();
    if (this.#queue.length > 0 || this.#streams.size > 0) {
      await new Promise<void>((resolve) => (this.#onEmpty = resolve));
    }
    this.#end();
    await Promise.all(this.#fallbacks().map((pool) => pool.close()));
  }

  async destroy(reason: Error): Promise<void> {
    this.#closed = true;
    const queue = this.#queue;
    this.#queue = [];
    for (const { handler } of queue) handler.onResponseError!(undefined as never, reason);
    this.#connector.destroy();
    for (const stream of this.#streams) stream.abort(reason);
    this.#end();
    for (const session of this.#sessions) session.destroy(undefined);
    this.#onEmpty?.();
    await Promise.all(this.#fallbacks().map((pool) => pool.destroy(reason)));
  }

  #fallbacks(): Http1Pool[] {
    return this.#fallback === undefined ? [...this.#former] : [this.#fallback, ...this.#former];
  }

  #end(): void {
    this.#redialling?.cancel();
    this.#settling?.destroy(undefined);
    this.#answerProbes(false);
    for (const session of this.#sessions) session.close();
  }

  // ── requests ─────────────────────────────────────────────────────────────────────────────────

  #roomiest(): Http2Session | undefined {
    let best: Http2Session | undefined;
    for (const session of this.#sessions) {
      if (session.room > 0 && (best === undefined || session.streams < best.streams))
        best = session;
    }
    return best;
  }

  #start(session: Http2Session, { fields, body, handler }: Waiting): void {
    const stream = new Http2Stream(session, handler, this.#where, this.#service.limits, () =>
      this.#released(stream),
    );
    this.#streams.add(stream);
    stream.start(fields, body);
  }

  #released(stream: Http2Stream): void {
    this.#streams.delete(stream);
    this.#drain();
  }

  #drain(): void {
    while (this.#queue.length > 0) {
      const session = this.#roomiest();
      if (session === undefined) break;
      this.#start(session, this.#queue.shift()!);
    }
    this.#grow();
    if (this.#queue.length === 0 && this.#streams.size === 0) this.#onEmpty?.();
  }

  #failAll(error: MeshError): void {
    const queue = this.#queue;
    this.#queue = [];
    for (const { handler } of queue) handler.onResponseError!(undefined as never, error);
    if (this.#streams.size === 0) this.#onEmpty?.();
  }

  // ── connections ──────────────────────────────────────────────────────────────────────────────

  #grow(): void {
    if (this.#queue.length === 0 && this.#probes.length === 0) return;
    const { maxConnectionsPerEndpoint } = this.#service.limits;
    let open = 0;
    for (const session of this.#sessions) {
      if (session.proving) return; // it will have room, or be gone
      if (!session.ending) open++;
    }
    if (this.#dialling || open >= Math.min(maxConnectionsPerEndpoint, MAX_CONNECTIONS)) return;
    const pauseMs = this.#redial.pauseMs(this.#runtime.now());
    if (pauseMs > 0) {
      this.#redialling ??= this.#runtime.after(
        pauseMs,
        () => {
          this.#redialling = undefined;
          this.#grow();
        },
        undefined,
        true,
      );
      return;
    }
    this.#dialling = true;
    this.#connector.connect(undefined, (error, socket) => {
      if (this.#closed && this.#queue.length === 0) {
        this.#dialling = false;
        socket?.destroy();
      } else if (error !== null) this.#notReached(error);
      else this.#connected(socket!);
    });
  }

  #connected(socket: Socket): void {
    const secure = this.#service.scheme === "https";
    if (secure && (socket as Socket & { alpnProtocol?: unknown }).alpnProtocol !== "h2") {
      return this.#fallBack(socket);
    }
    const session = new Http2Session(socket, this.#service, this.#runtime, this, this.#patience);
    this.#settling = session;
    const { connectMs } = this.#service.timeouts;
    const timer = this.#runtime.after(
      connectMs,
      () => session.destroy(new Error(`no settings within ${connectMs} ms`)),
      undefined,
    );
    session.onSettled = () => timer.cancel();
  }

  roomChanged(session: Http2Session): void {
    if (this.#settling === session) {
      this.#settling = undefined;
      this.#dialling = false;
      session.onSettled?.();
      this.#sessions.add(session);
      this.#answerProbes(true);
      if (this.#queue.length === 0) session.unref();
    }
    this.#drain();
  }

  leaving(session: Http2Session): void {
    if (session.calmed) this.#patience = Math.min(MAX_PATIENCE, this.#patience * 2);
    this.#grow();
  }

  replaces(session: Http2Session): boolean {
    return this.#redial.replaces(session.served > 0);
  }

  closed(session: Http2Session, refusing: boolean): void {
    if (this.#settling === session) {
      this.#settling = undefined;
      session.onSettled?.();
      return this.#notReached(this.#unsettled(session.error));
    }
    this.#sessions.delete(session);
    if (!refusing) this.#redial.ended(session.served > 0);
    this.#drain();
  }

  #notReached(error: MeshError): void {
    this.#dialling = false;
    this.#answerProbes(false);
    this.#redial.failed();
    // Others are in use: who waits may still get a stream there.
    if (this.#sessions.size === 0) this.#failAll(error);
    else this.#grow();
  }

  /** It connected, and ended before its settings: nothing of a request was sent. */
  #unsettled(cause: (Error & { code?: unknown }) | undefined): MeshError {
    if (cause === undefined) return connectError(this.#where, new Error("closed at once"), false);
    if (isPeerAlert(cause)) return connectError(this.#where, cause, true);
    const spoke = cause.code === "ERR_HTTP2_ERROR" || cause.code === undefined;
    return spoke
      ? protocolMismatch(this.#where, cause.message, cause)
      : connectError(this.#where, cause, false);
  }

  #fallBack(socket: Socket): void {
    const fallback = this.#makeFallback();
    this.#fallback = fallback;
    this.#fallbackUntil = this.#runtime.now() + REMEMBER_FALLBACK_MS;
    this.#dialling = false;
    fallback.connector.keep(socket);
    this.#answerProbes(true);
    const queue = this.#queue;
    this.#queue = [];
    for (const { request, handler } of queue) fallback.dispatch(request, handler);
    this.#onEmpty?.();
  }

  #answerProbes(reached: boolean): void {
    const probes = this.#probes;
    this.#probes = [];
    for (const answer of probes) answer(reached);
  }
}
