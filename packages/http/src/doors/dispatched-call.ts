/**
 * One call of a dispatcher: it stands between the handler that the caller brought and the pipeline,
 * is the controller of that handler, and the sink of the reply's body.
 *
 * The handler has its controller before `dispatch` returns, not when the request reaches a socket:
 * several attempts may reach one, and a request that still waits can be aborted that way.
 */
import { MeshError, type Call, type Service } from "@inmesh/core/spi";
import type { Dispatcher } from "undici";
import type { BodySink, HttpReply } from "../client/reply.ts";
import type { HttpRequest, WireWatcher } from "../client/request.ts";
import { surfaced } from "../client/surface.ts";
import { errors } from "../client/undici.ts";
import type { RawHeaders } from "../headers.ts";

type Raw = NonNullable<Dispatcher.DispatchController["rawHeaders"]> | null;

export class DispatchedCall implements Dispatcher.DispatchController, BodySink, WireWatcher {
  rawHeaders: Raw = null;
  rawTrailers: Raw = null;
  aborted = false;
  paused = false;
  reason: Error | null = null;
  /** Neighbours in the list of live calls. Writer: LiveCalls. */
  previous: DispatchedCall | undefined = undefined;
  next: DispatchedCall | undefined = undefined;
  readonly #handler: Dispatcher.DispatchHandler;
  readonly #call: Call<HttpRequest>;
  /** Those in progress; a dispatcher that is closed or destroyed asks it. */
  readonly #live: LiveCalls;
  #reply: HttpReply | undefined = undefined;
  #done = false;

  constructor(handler: Dispatcher.DispatchHandler, call: Call<HttpRequest>, live: LiveCalls) {
    this.#handler = handler;
    this.#call = call;
    this.#live = live;
    call.request.watcher = this;
  }

  start(service: Service<HttpRequest, HttpReply>): void {
    this.#live.add(this);
    try {
      this.#handler.onRequestStart!(this, null);
    } catch (error) {
      this.#thrown(error);
    }
    if (this.#done) return;
    service.current(this.#call).then(
      (reply) => this.#replied(reply),
      (error: unknown) => this.fail(error),
    );
  }

  // ── the handler's side ───────────────────────────────────────────────────────────────────────

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    if (!this.#done) this.#reply?.flow();
  }

  abort(reason?: Error): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason ?? null;
    this.#break(reason ?? new errors.RequestAbortedError());
  }

  // ── the pipeline's side ──────────────────────────────────────────────────────────────────────

  #replied(reply: HttpReply): void {
    if (this.#done) {
      reply.discard();
      return;
    }
    this.#reply = reply;
    this.rawHeaders = reply.rawHead ?? null;
    try {
      this.#handler.onResponseStart!(this, reply.status, reply.head, reply.statusText);
    } catch (error) {
      this.#thrown(error);
    }
    if (this.#done) reply.discard();
    else reply.sendTo(this);
  }

  data(chunk: Buffer): void {
    if (this.#done) return;
    try {
      this.#handler.onResponseData!(this, chunk);
    } catch (error) {
      this.#thrown(error);
    }
  }

  end(trailers: RawHeaders): void {
    if (!this.#finish()) return;
    this.rawTrailers = trailers as Raw;
    try {
      this.#handler.onResponseEnd!(this, trailers);
    } catch (error) {
      this.#deliver(error);
    }
  }

  fail(error: unknown): void {
    if (this.#finish()) this.#deliver(plain(error));
  }

  // ── the wire's side ──────────────────────────────────────────────────────────────────────────

  bodySent(chunk: Buffer): void {
    if (this.#done || this.#handler.onBodySent === undefined) return;
    try {
      this.#handler.onBodySent(chunk);
    } catch (error) {
      this.#thrown(error);
    }
  }

  requestSent(): void {
    if (this.#done || this.#handler.onRequestSent === undefined) return;
    try {
      this.#handler.onRequestSent();
    } catch (error) {
      this.#thrown(error);
    }
  }

  replyStarted(): void {
    if (this.#done || this.#handler.onResponseStarted === undefined) return;
    try {
      this.#handler.onResponseStarted();
    } catch (error) {
      this.#thrown(error);
    }
  }

  interim(status: number, headers: RawHeaders, statusText: string, raw: unknown): void {
    if (this.#done) return;
    this.rawHeaders = raw as Raw;
    try {
      this.#handler.onResponseStart!(this, status, headers, statusText);
    } catch (error) {
      this.#thrown(error);
    }
  }

  // ── ends ─────────────────────────────────────────────────────────────────────────────────────

  /** What a callback throws ends the call and comes back through `onResponseError`. */
  #thrown(error: unknown): void {
    this.#break(error);
  }

  /** Ends the call in this turn; the network learns it first. */
  #break(error: unknown): void {
    if (!this.#finish()) return;
    const call = this.#call;
    call.cancel(
      new MeshError({
        code: "cancelled",
        reason: "caller",
        message: `${call.service}: aborted by the caller`,
        progress: "maybe-processed",
        cause: error,
        stackless: true,
      }),
      "abandoned",
    );
    this.#deliver(error);
  }

  /** For a dispatcher that is destroyed. */
  destroy(error: Error): void {
    this.#break(error);
  }

  #finish(): boolean {
    if (this.#done) return false;
    this.#done = true;
    this.#live.remove(this);
    return true;
  }

  #deliver(error: unknown): void {
    try {
      this.#handler.onResponseError!(this, error as Error);
    } catch (thrown) {
      // As in undici: there is nobody left to tell, and to hide it would hide the caller's fault.
      queueMicrotask(() => {
        throw thrown;
      });
    }
  }
}

/**
 * The calls of one dispatcher that are not over: a list through the calls. A Set would do, but the
 * tables it leaves behind keep each other alive from one collection to the next, and what is in them.
 */
export class LiveCalls {
  #first: DispatchedCall | undefined = undefined;
  #emptied: (() => void) | undefined = undefined;

  add(call: DispatchedCall): void {
    call.next = this.#first;
    if (this.#first !== undefined) this.#first.previous = call;
    this.#first = call;
  }

  remove(call: DispatchedCall): void {
    if (call.previous === undefined) this.#first = call.next;
    else call.previous.next = call.next;
    if (call.next !== undefined) call.next.previous = call.previous;
    call.previous = call.next = undefined;
    if (this.#first === undefined && this.#emptied !== undefined) this.#emptied();
  }

  whenEmpty(): Promise<void> {
    if (this.#first === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      this.#emptied = resolve;
    });
  }

  destroy(error: Error): void {
    while (this.#first !== undefined) this.#first.destroy(error);
  }
}

/** An argument or body that was wrong is the caller's own error; the rest is the mesh's. */
function plain(error: unknown): unknown {
  if (error instanceof MeshError && error.code === "bad_request" && error.cause instanceof Error) {
    return error.cause;
  }
  return surfaced(error);
}
