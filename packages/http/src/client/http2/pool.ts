/**
 * The HTTP/2 connections to one endpoint, over node:http2, for exchanges that know undici's events. Where TLS agrees
 * on HTTP/1.1 instead, all goes to a pool of that.
 */
import type { Socket } from "node:net";
import type { Runtime, ServiceConfig } from "@inmesh/core/spi";
import type { Connector } from "../connector.ts";
import type { Http1Pool, HttpPool, PoolHandler } from "../pool.ts";
import type { HttpRequest } from "../request.ts";
import { sentBody, type SentBody } from "./body.ts";
import { requestFields } from "./fields.ts";
import { REMEMBER_HTTP1_MS } from "../pool-life.ts";
import { SessionPool } from "./session-pool.ts";
import { Http2Session } from "./session.ts";
import { Http2Stream } from "./stream.ts";
import type { OutgoingHttpHeaders } from "node:http2";

const MAX_PATIENCE = 8;

interface Waiting {
  /** For the fallback, which takes requests as they are. */
  readonly request: HttpRequest;
  readonly fields: OutgoingHttpHeaders;
  readonly body: SentBody | undefined;
  readonly handler: PoolHandler;
}

export class Http2Pool extends SessionPool<Http2Session, Waiting> implements HttpPool {
  readonly #makeFallback: () => Http1Pool;
  /** Until each has been released, which may be after the end of its connection. */
  readonly #streams = new Set<Http2Stream>();
  #patience = 1;
  #fallback: Http1Pool | undefined = undefined;
  #fallbackUntil = 0;
  /** Fallbacks of before, with calls still in flight. */
  readonly #former = new Set<Http1Pool>();

  constructor(
    service: ServiceConfig,
    connector: Connector,
    runtime: Runtime,
    makeFallback: () => Http1Pool,
  ) {
    super(service, connector, runtime);
    this.#makeFallback = makeFallback;
  }

  dispatch(request: HttpRequest, handler: PoolHandler): boolean {
    const fallback = this.#fallback;
    if (fallback !== undefined) {
      if (this.isClosed || this.runtime.now() < this.#fallbackUntil) {
        return fallback.dispatch(request, handler);
      }
      this.#fallback = undefined;
      this.#former.add(fallback);
      const forget = (): void => void this.#former.delete(fallback);
      fallback.close().then(forget, forget);
    }
    if (this.isClosed) {
      handler.onResponseError!(undefined as never, new Error("the pool is closed"));
      return false;
    }
    const { scheme, authority, name } = this.service;
    return this.place({
      request,
      fields: requestFields(request, scheme, authority, name),
      body: sentBody(request.body),
      handler,
    });
  }

  get open(): number {
    return this.#fallbacks().reduce((sum, pool) => sum + pool.open, this.sessions.size);
  }

  get application(): string | undefined {
    return this.sessions.size > 0 ? "h2" : this.#fallback?.application;
  }

  explain(error: Error): Error {
    return this.#fallback?.explain(error) ?? error;
  }

  override probe(): Promise<boolean> {
    return this.#fallback?.probe() ?? super.probe();
  }

  prove(): void {
    for (const session of this.sessions) session.prove(this.service.timeouts.connectMs);
  }

  override async close(): Promise<void> {
    await super.close();
    await Promise.all(this.#fallbacks().map((pool) => pool.close()));
  }

  override async destroy(reason: Error): Promise<void> {
    super.destroy(reason);
    await Promise.all(this.#fallbacks().map((pool) => pool.destroy(reason)));
  }

  #fallbacks(): Http1Pool[] {
    return this.#fallback === undefined ? [...this.#former] : [this.#fallback, ...this.#former];
  }

  // ── of the pool ──────────────────────────────────────────────────────────────────────────────

  protected speak(socket: Socket): Http2Session {
    return new Http2Session(socket, this.service, this.runtime, this, this.#patience);
  }

  protected notAgreed(socket: Socket): void {
    const fallback = this.#makeFallback();
    this.#fallback = fallback;
    this.#fallbackUntil = this.runtime.now() + REMEMBER_HTTP1_MS;
    fallback.connector.keep(socket);
    for (const { request, handler } of this.surrender()) fallback.dispatch(request, handler);
  }

  protected start(session: Http2Session, { fields, body, handler }: Waiting): void {
    const stream = new Http2Stream(session, handler, this.where, this.service.limits, () => {
      this.#streams.delete(stream);
      this.drain();
    });
    this.#streams.add(stream);
    handler.line = session;
    stream.start(fields, body);
  }

  protected refuse({ handler }: Waiting, error: Error): void {
    handler.onResponseError!(undefined as never, error);
  }

  protected breakOff(error: Error): void {
    for (const stream of this.#streams) stream.abort(error);
  }

  protected override get streams(): number {
    return this.#streams.size;
  }

  override leaving(session: Http2Session): void {
    if (session.calmed) this.#patience = Math.min(MAX_PATIENCE, this.#patience * 2);
    super.leaving(session);
  }
}
