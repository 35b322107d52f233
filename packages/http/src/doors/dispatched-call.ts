/**
 * One call of a dispatcher: it stands between the handler that the caller brought and the pipeline,
 * is the controller of that handler, and the sink of the reply's body.
 *
 * The handler has its controller before `dispatch` returns, not when the request reaches a socket:
 * several attempts may reach one, and a request that still waits can be aborted that way.
 */
import type { Duplex } from "node:stream";
import { MeshError, stacklessError, type Call } from "@inmesh/core/spi";
import type { Dispatcher } from "undici";
import { endStream } from "../client/end-body.ts";
import type { BodySink, HttpReply } from "../client/reply.ts";
import type { HttpRequest, WireWatcher } from "../client/request.ts";
import { replyTo, type HttpService } from "../client/start.ts";
import { surfaced } from "../client/surface.ts";
import { errors, util } from "../client/undici.ts";
import type { RawHeaders } from "../headers.ts";

type Raw = NonNullable<Dispatcher.DispatchController["rawHeaders"]> | null;
type Handler = Dispatcher.DispatchHandler;

export class DispatchedCall implements Dispatcher.DispatchController, BodySink, WireWatcher {
  rawHeaders: Raw = null;
  rawTrailers: Raw = null;
  aborted = false;
  paused = false;
  reason: Error | null = null;
  /** Neighbours in the list of live calls. Writer: LiveCalls. */
  previous: DispatchedCall | undefined = undefined;
  next: DispatchedCall | undefined = undefined;
  readonly #live: LiveCalls;
  /**
   * These three are let go when the call is over, and the absent handler is what says so. undici's
   * readers keep their controller, and one reader may keep the next for many collections.
   */
  #handler: Handler | undefined;
  #call: Call<HttpRequest> | undefined;
  #reply: HttpReply | undefined = undefined;
  #endedBy: unknown = undefined;

  constructor(handler: Handler, call: Call<HttpRequest>, live: LiveCalls) {
    this.#handler = handler;
    this.#call = call;
    this.#live = live;
    call.request.watcher = this;
  }

  start(service: HttpService): void {
    this.#live.add(this);
    const call = this.#call!;
    try {
      this.#handler!.onRequestStart!(this, null);
    } catch (error) {
      this.destroy(error);
    }
    if (this.#handler === undefined) return;
    try {
      replyTo(service, call).then(
        (reply) => this.#replied(reply),
        (error: unknown) => this.fail(error),
      );
    } catch (error) {
      this.fail(error);
    }
  }

  // ── the handler's side ───────────────────────────────────────────────────────────────────────

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.#reply?.flow();
  }

  abort(reason?: Error): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason ?? null;
    this.destroy(reason ?? new errors.RequestAbortedError());
  }

  // ── the pipeline's side ──────────────────────────────────────────────────────────────────────

  #replied(reply: HttpReply): void {
    const handler = this.#handler;
    if (handler === undefined) return reply.discard();
    this.rawHeaders = reply.rawHead ?? null;
    try {
      handler.onResponseStart!(this, reply.status, reply.head, reply.statusText);
    } catch (error) {
      this.destroy(error);
    }
    if (this.#handler === undefined) return reply.discard();
    this.#reply = reply;
    reply.sendTo(this);
  }

  data(chunk: Buffer): void {
    try {
      this.#handler?.onResponseData!(this, chunk);
    } catch (error) {
      this.destroy(error);
    }
  }

  end(trailers: RawHeaders): void {
    const raw = this.#reply?.rawTrailers;
    const handler = this.#finish();
    if (handler === undefined) return;
    this.rawTrailers = Array.isArray(raw) ? onlyThose(raw, trailers) : util.toRawHeaders(trailers);
    try {
      handler.onResponseEnd!(this, trailers);
    } catch (error) {
      this.#deliver(handler, error);
    }
  }

  fail(error: unknown): void {
    const handler = this.#finish();
    if (handler !== undefined) this.#deliver(handler, plain(error));
  }

  // ── the wire's side ──────────────────────────────────────────────────────────────────────────

  bodySent(chunk: Buffer): void {
    try {
      this.#handler?.onBodySent?.(chunk);
    } catch (error) {
      this.destroy(error);
    }
  }

  requestSent(): void {
    try {
      this.#handler?.onRequestSent?.();
    } catch (error) {
      this.destroy(error);
    }
  }

  replyStarted(): void {
    try {
      this.#handler?.onResponseStarted?.();
    } catch (error) {
      this.destroy(error);
    }
  }

  interim(status: number, headers: RawHeaders, statusText: string, raw: unknown): void {
    this.rawHeaders = raw as Raw;
    try {
      this.#handler?.onResponseStart!(this, status, headers, statusText);
    } catch (error) {
      this.destroy(error);
    }
  }

  upgraded(status: number, headers: RawHeaders, socket: Duplex, raw: unknown): void {
    this.rawHeaders = raw as Raw;
    try {
      this.#handler?.onRequestUpgrade!(this, status, headers, socket);
    } catch (error) {
      this.destroy(error);
    }
    // Aborted meanwhile, by the callback or before it: the socket was not taken.
    if (this.#finish() === undefined) endStream(socket, this.#endedBy);
  }

  // ── ends ─────────────────────────────────────────────────────────────────────────────────────

  /** Ends the call in this turn with an error; the network learns it first. */
  destroy(error: unknown): void {
    const call = this.#call;
    const handler = this.#finish();
    if (handler === undefined) return;
    this.#endedBy = error;
    call!.cancel(
      stacklessError(
        "cancelled",
        "caller",
        "maybe-processed",
        `${call!.service}: aborted by the caller`,
        error,
      ),
      "abandoned",
    );
    this.#deliver(handler, error);
  }

  /** The handler, for the one who ends the call; undefined if it was over. */
  #finish(): Handler | undefined {
    const handler = this.#handler;
    if (handler === undefined) return undefined;
    this.#live.remove(this);
    this.#handler = this.#call = this.#reply = undefined;
    return handler;
  }

  #deliver(handler: Handler, error: unknown): void {
    try {
      handler.onResponseError!(this, error as Error);
    } catch (thrown) {
      // As in undici: no handler is left for it, and to hide it would hide the caller's fault.
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

function bytesOf(text: Buffer | string): Buffer {
  return typeof text === "string" ? Buffer.from(text, "latin1") : text;
}

/** Names as they were sent, of what is let through: a trailer may not bring every field. */
function onlyThose(raw: readonly (Buffer | string)[], trailers: RawHeaders): Buffer[] {
  const kept: Buffer[] = [];
  for (let i = 0; i < raw.length; i += 2) {
    const name = String(raw[i]);
    if (!Object.hasOwn(trailers, name.toLowerCase())) continue;
    kept.push(Buffer.from(name, "latin1"), bytesOf(raw[i + 1]!));
  }
  return kept;
}

/** An argument or body that was wrong is the caller's own error; the rest is the mesh's. */
function plain(error: unknown): unknown {
  if (error instanceof MeshError && error.code === "bad_request" && error.cause instanceof Error) {
    return error.cause;
  }
  return surfaced(error);
}
