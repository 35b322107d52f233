/**
 * One attempt on the wire: the handler that undici drives. It settles its attempt exactly once,
 * whatever order the socket's events, the deadline and the caller's abort come in.
 *
 * undici hands over its controller only when the request reaches a socket, so a request that is
 * still queued cannot be aborted through it: the caller gets the error at once, and the request refuses to
 * begin when its turn comes.
 */
import type { Duplex } from "node:stream";
import {
  MeshError,
  stacklessError,
  type Attempt,
  type AttemptCanceller,
  type Outcome,
  type Runtime,
  type ServiceConfig,
  type Timer,
} from "@inmesh/core/spi";
import type { Dispatcher } from "undici";
import { CONTENT_LENGTH, retryAfterMs, TRANSFER_ENCODING, type RawHeaders } from "../headers.ts";
import { classify, isCallerFault } from "./classify.ts";
import { endBody } from "./end-body.ts";
import { failureOf } from "./failure.ts";
import { takeMarks } from "./marks.ts";
import type { HttpPool, Line, PoolHandler } from "./pool.ts";
import { HttpReply, type BodySource } from "./reply.ts";
import { isAmbiguous, MAX_INTERIM, MAX_REPLY_FIELDS } from "./reply-limits.ts";
import { withHeaders, type HttpRequest } from "./request.ts";
import { surfaced } from "./surface.ts";

type Controller = Dispatcher.DispatchController;

/** What an exchange asks of the way to its endpoint. */
export interface ExchangeOwner {
  readonly service: ServiceConfig;
  /** For new exchanges; one that has begun keeps its own. */
  readonly pool: ExchangePool;
  /** Attempts that wait for a connection. Writer: the exchange. */
  waiting: number;
  /** Replies that hold a connection, or stream, because their body has not been asked for. Writer: the exchange. */
  unread: number;
  /** What to add to the message of an attempt that waited for a connection in vain. */
  readonly unreadHint: string;
  /** Why the request may not even wait for a connection. */
  refusal(request: HttpRequest): MeshError | undefined;
}

type ExchangePool = Pick<HttpPool, "dispatch" | "explain">;

export class Exchange implements AttemptCanceller, BodySource, PoolHandler {
  line: Line | undefined = undefined;
  readonly #attempt: Attempt<HttpRequest>;
  readonly #connection: ExchangeOwner;
  readonly #runtime: Runtime;
  #resolve!: (reply: HttpReply) => void;
  #reject!: (error: unknown) => void;
  #controller: Controller | undefined = undefined;
  #pool!: ExchangePool;
  /** Given up while the body waits for its reader: an exchange must not be what keeps it (`#release`). */
  #reply: HttpReply | undefined = undefined;
  #unread: WeakRef<HttpReply> | undefined = undefined;
  /** Of the reply's head; undefined: there is none yet. */
  #verdict: Outcome | undefined = undefined;
  /** Counted among those whose body has not been asked for. */
  #counted = false;
  #done: MeshError | true | undefined = undefined;
  /** Inside `send`. */
  #sending = false;
  /** Counted among those that wait for a connection, until the pool lets go of it. */
  #queued = false;
  #queueTimer: Timer | undefined = undefined;
  #closeDelimited = false;
  #interim = 0;
  #idle: Timer | undefined = undefined;
  #lastByteAt = 0;

  constructor(attempt: Attempt<HttpRequest>, connection: ExchangeOwner, runtime: Runtime) {
    this.#attempt = attempt;
    this.#connection = connection;
    this.#runtime = runtime;
  }

  send(): Promise<HttpReply> {
    const promise = new Promise<HttpReply>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    const attempt = this.#attempt;
    const { call } = attempt;
    attempt.canceller = this;
    let { request } = call;
    const remainingMs = call.deadlineAt - attempt.startedAt;
    if (attempt.kind === "hedge")
      request = request.stampedBeside(attempt.announcedNumber, remainingMs);
    else request.stamp(attempt.announcedNumber, remainingMs);
    const connection = this.#connection;
    const pool = connection.pool;
    // The pool of this attempt, whatever takes its place at a rotation of certificates.
    this.#pool = pool;
    const refusal = connection.refusal(call.request);
    if (refusal !== undefined) {
      this.#fail(refusal, "abandoned");
      return promise;
    }
    try {
      this.#sending = true;
      const { headers } = attempt;
      if (headers !== undefined) request = withHeaders(request, headers);
      const free = pool.dispatch(request, this);
      if (!free && this.#controller === undefined && this.#done === undefined) this.#wait();
    } catch (error) {
      this.onResponseError(undefined, error as Error);
    } finally {
      this.#sending = false;
    }
    return promise;
  }

  // ── undici's events ──────────────────────────────────────────────────────────────────────────

  /**
   * Throws if no call waits any longer: the connection is the next one's. To abort here would end it,
   * and the body with it, which an attempt elsewhere may be sending by now; where calls wait longer
   * than they may, every connection would go that way.
   */
  onRequestStart(controller: Controller): void {
    const hasWaited = this.#queued;
    if (hasWaited) this.#leaveQueue();
    if (this.#done !== undefined) throw this.#done === true ? new Error("over") : this.#done;
    this.#controller = controller;
    const attempt = this.#attempt;
    const { line } = this;
    if (line !== undefined) {
      attempt.wireVersion = line.version;
      attempt.connectionReused = line.reuse();
      if (attempt.observed !== undefined) attempt.observed.connection = line;
    }
    // Inside `send` it is the instant of the pick, to a few microseconds. undici looks at an idle connection for a turn
    // of the event loop before it uses it: no wait for a connection either.
    const isAtOnce = this.#sending || (attempt.connectionReused === true && !hasWaited);
    attempt.sentAt = isAtOnce ? attempt.startedAt : this.#runtime.now();
    // From here on a streamed body may be read, and undici would send the rest of it as the whole.
    const { call } = attempt;
    if (call.request.streamed) call.replayable = false;
  }

  onBodySent(chunk: Buffer): void {
    if (this.#done !== undefined) return;
    const { call, observed } = this.#attempt;
    if (observed !== undefined) observed.sentBytes += chunk.length;
    call.request.watcher?.bodySent(chunk);
  }

  onRequestSent(): void {
    if (this.#done === undefined) this.#attempt.call.request.watcher?.requestSent();
  }

  onResponseStarted(): void {
    if (this.#done === undefined) this.#attempt.call.request.watcher?.replyStarted();
  }

  onResponseStart(
    controller: Controller,
    status: number,
    headers: RawHeaders,
    statusText?: string,
  ): void {
    if (this.#done !== undefined) return;
    if (status < 200) {
      if (++this.#interim > MAX_INTERIM) {
        controller.abort(
          this.#badReply("unexpected_1xx", `more than ${MAX_INTERIM} interim replies`),
        );
      } else {
        const { watcher } = this.#attempt.call.request;
        watcher?.interim(status, headers, statusText ?? "", controller.rawHeaders);
      }
      return;
    }
    if ((controller.rawHeaders as readonly unknown[]).length > 2 * MAX_REPLY_FIELDS) {
      controller.abort(
        this.#badReply("response_header_too_large", `more than ${MAX_REPLY_FIELDS} fields`),
      );
      return;
    }
    // undici counts the fields, and not what stands before them.
    const { maxReplyHeaderBytes } = this.#connection.service.limits;
    if (statusText !== undefined && statusText.length > maxReplyHeaderBytes) {
      const what = `${maxReplyHeaderBytes} bytes of reason phrase (limits.maxReplyHeaderBytes)`;
      controller.abort(this.#badReply("response_header_too_large", what));
      return;
    }
    const coding = headers[TRANSFER_ENCODING];
    if (coding !== undefined && coding !== "chunked" && isAmbiguous(coding)) {
      controller.abort(
        this.#badReply(
          "malformed_response",
          "more than one transfer-encoding, or one behind chunked",
        ),
      );
      return;
    }
    const attempt = this.#attempt;
    const now = this.#runtime.now();
    const waitMs = retryAfterMs(headers);
    const outcome = classify(status, waitMs !== undefined);
    attempt.code = status;
    attempt.callerFault = isCallerFault(status);
    if (outcome === "overloaded") attempt.busyForMs = waitMs ?? 0;
    attempt.answered(now);
    this.#closeDelimited =
      headers[CONTENT_LENGTH] === undefined &&
      headers[TRANSFER_ENCODING] === undefined &&
      !isBodiless(attempt.call.request.method, status);
    const idleMs = this.#connection.service.timeouts.bodyIdleMs;
    if (attempt.call.deadlineAt - now > idleMs) {
      this.#lastByteAt = now;
      this.#idle = this.#runtime.after(idleMs, lookIdle, this);
    }
    const { trustNacks } = this.#connection.service;
    this.#verdict = outcome;
    const reply = new HttpReply(
      status,
      statusText ?? "",
      headers,
      outcome,
      this,
      attempt,
      trustNacks,
      now,
    );
    this.#reply = reply;
    this.#resolve(reply);
  }

  /** Upgraded or tunnelled: from here on the connection is the caller's, and no part of the call. */
  onRequestUpgrade(
    controller: Controller,
    status: number,
    headers: RawHeaders,
    socket: Duplex,
  ): void {
    const attempt = this.#attempt;
    const { watcher } = attempt.call.request;
    if (this.#done !== undefined || watcher === undefined) {
      socket.destroy();
      return;
    }
    this.#done = true;
    // The caller has this connection in a moment, and must not be given another one.
    attempt.call.choose(attempt);
    const now = this.#runtime.now();
    const outcome = classify(status, false);
    attempt.code = status;
    attempt.callerFault = isCallerFault(status);
    attempt.answered(now);
    attempt.answeredAt = now;
    attempt.settle(outcome);
    // A copy: what a route changes in replies must not change what the caller holds already.
    takeMarks(headers);
    const reply = new HttpReply(status, "", { ...headers }, outcome, this, attempt, false, now);
    reply.finish({});
    watcher.upgraded(status, headers, socket, controller.rawHeaders);
    this.#resolve(reply);
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    if (this.#done !== undefined) return;
    const attempt = this.#attempt;
    if (attempt.answeredAt === 0) attempt.answeredAt = this.#runtime.now();
    if (attempt.observed !== undefined) attempt.observed.receivedBytes += chunk.length;
    if (this.#idle !== undefined) this.#lastByteAt = this.#runtime.now();
    const reply = this.#reply ?? this.#unread?.deref();
    if (reply === undefined) {
      if (this.#verdict === undefined) {
        // Never on Node. Deno gives the bytes of an HTTP/2 reply before its head.
        controller.abort(this.#badReply("malformed_response", "a body before its head"));
      } else this.abandon();
      return;
    }
    if (reply.receive(chunk)) return;
    controller.pause();
    this.#release(reply);
  }

  onResponseEnd(controller: Controller, trailers: RawHeaders): void {
    if (this.#done !== undefined) return;
    if (this.#closeDelimited && this.line?.broken === true) {
      const reset: Error & { code?: string } = new Error(
        "reset in a body that only the close ends",
      );
      reset.code = "ECONNRESET";
      this.onResponseError(controller, reset);
      return;
    }
    this.#done = true;
    this.#idle?.cancel();
    this.#finish()?.finish(trailers);
    this.#attempt.settle(this.#verdict!);
  }

  /** A throw in here would be an uncaught exception of the host: nothing below may throw. */
  onResponseError(_controller: Controller | undefined, cause: Error): void {
    if (this.#queued) this.#leaveQueue();
    if (this.#done !== undefined) return;
    const attempt = this.#attempt;
    const replyStarted = this.#verdict !== undefined;
    const failure = failureOf(replyStarted ? cause : this.#pool.explain(cause), {
      where: this.#where,
      started: this.#controller !== undefined,
      replyStarted,
      request: attempt.call.request,
    });
    attempt.connectFailed = failure.connectFailed;
    if (failure.busyForMs > 0) attempt.busyForMs = failure.busyForMs;
    this.#fail(failure.error, failure.outcome);
  }

  // ── the mesh's side ──────────────────────────────────────────────────────────────────────────

  cancelAttempt(error: MeshError, outcome: "timeout" | "abandoned"): void {
    if (this.#done !== undefined) return;
    const controller = this.#controller;
    if (controller === undefined && outcome === "timeout") {
      // It never had a connection: that says nothing about how fast the endpoint answers.
      this.#fail(
        stacklessError(
          "deadline_exceeded",
          error.reason === "attempt_timeout" ? "attempt_timeout" : "queue_wait",
          "not-sent",
          `${this.#where}: deadline exceeded while waiting for a connection${this.#connection.unreadHint}`,
          error,
        ),
        "abandoned",
      );
      return;
    }
    this.#fail(error, outcome);
    controller?.abort(error);
  }

  /** The head as undici received it: names and values in turn; null before there is one. */
  get rawHeaders(): Controller["rawHeaders"] {
    return this.#controller?.rawHeaders;
  }

  /** The trailers as undici received them; null before there are any. */
  get rawTrailers(): Controller["rawTrailers"] {
    return this.#controller?.rawTrailers;
  }

  /** The reader wants more. Time in which it did not is no silence of the peer. */
  resume(reply: HttpReply): void {
    if (this.#done !== undefined) return;
    this.#reply = reply;
    this.#uncount();
    if (this.#controller?.paused !== true) return;
    if (this.#idle !== undefined) this.#lastByteAt = this.#runtime.now();
    this.#controller.resume();
  }

  /**
   * The peer waits for the reader. If the application lets go of the reply instead of reading it, the
   * reply is collected, and its connection is given back. Until then an error names those.
   */
  #release(reply: HttpReply): void {
    if (this.#reply === undefined || !reply.mayGo) return;
    if (this.#unread === undefined) {
      this.#unread = new WeakRef(reply);
      collected.register(reply, this, this);
      // A promise keeps what it was resolved with.
      this.#resolve = this.#reject = ignore;
    }
    this.#reply = undefined;
    if (!reply.bodyUsed) {
      this.#counted = true;
      this.#connection.unread++;
    }
  }

  #uncount(): void {
    if (!this.#counted) return;
    this.#counted = false;
    this.#connection.unread--;
  }

  /** The reply, if it is still there; nothing of it is kept. */
  #finish(): HttpReply | undefined {
    const reply = this.#reply ?? this.#unread?.deref();
    if (this.#unread !== undefined) {
      this.#uncount();
      collected.unregister(this);
    }
    return reply;
  }

  /** No connection is free. Most calls never come here, so they pay for no timer. */
  #wait(): void {
    const connection = this.#connection;
    this.#queued = true;
    connection.waiting++;
    const { queueMs } = connection.service.timeouts;
    const leftMs = this.#attempt.call.deadlineAt - this.#runtime.now();
    if (queueMs < leftMs) this.#queueTimer = this.#runtime.after(queueMs, lookQueued, this);
  }

  #leaveQueue(): void {
    this.#queued = false;
    this.#connection.waiting--;
    this.#queueTimer?.cancel();
  }

  /** Still without a connection after `queueMs`: another endpoint may have one. */
  outwaited(): void {
    if (this.#done !== undefined || this.#controller !== undefined) return;
    const { queueMs } = this.#connection.service.timeouts;
    this.#fail(
      stacklessError(
        "deadline_exceeded",
        "queue_wait",
        "not-sent",
        `${this.#where}: no free connection within ${queueMs} ms (timeouts.queue)${this.#connection.unreadHint}`,
      ),
      "abandoned",
    );
  }

  /** The rest of the body is not wanted. The verdict is the reply's own. */
  abandon(): void {
    if (this.#done !== undefined) return;
    this.#done = true;
    this.#idle?.cancel();
    this.#finish();
    this.#attempt.settle(this.#verdict ?? "abandoned");
    const error = new Error("the body was not wanted");
    this.#endBody(error);
    this.#controller?.abort(error);
  }

  /** Of the request, if it may have been begun: then it is sent by no other attempt. */
  #endBody(error: unknown): void {
    const { request, replayable } = this.#attempt.call;
    if (request.streamed && !replayable) endBody(request.body, error);
  }

  /** No byte of the body came for `bodyIdleMs`: the peer stalls, unless it waits for the reader. */
  idled(): void {
    if (this.#done !== undefined) return;
    // One that reads must be kept: nothing else may refer to who waits for its next byte.
    if (this.#reply?.bodyUsed === false) this.#release(this.#reply);
    const idleMs = this.#connection.service.timeouts.bodyIdleMs;
    const since = this.#controller?.paused === true ? this.#runtime.now() : this.#lastByteAt;
    const leftMs = since + idleMs - this.#runtime.now();
    if (leftMs > 0) {
      this.#idle = this.#runtime.after(leftMs, lookIdle, this);
      return;
    }
    const message = `${this.#where}: no byte of the body for ${idleMs} ms (timeouts.bodyIdle): find out why the server paused, or raise the limit on a route that streams`;
    const error = stacklessError("deadline_exceeded", "idle_timeout", "maybe-processed", message);
    this.#fail(error, "timeout");
    this.#controller?.abort(error);
  }

  #fail(error: MeshError, outcome: Outcome): void {
    this.#done = error;
    this.#idle?.cancel();
    const attempt = this.#attempt;
    error.endpoint ??= attempt.endpoint?.address;
    attempt.error = error;
    const reply = this.#finish();
    this.#endBody(surfaced(error));
    attempt.settle(outcome);
    if (this.#verdict === undefined) this.#reject(error);
    else reply?.fail(surfaced(error));
  }

  get #where(): string {
    return `${this.#attempt.call.service} → ${this.#attempt.endpoint?.address}`;
  }

  #badReply(
    reason: "unexpected_1xx" | "response_header_too_large" | "malformed_response",
    what: string,
  ): MeshError {
    return new MeshError({
      code: "bad_response",
      reason,
      message: `${this.#where}: ${what}`,
      progress: "maybe-processed",
    });
  }
}

/** RFC 9112 §6.3: these end with their head, whatever else it says. */
function isBodiless(method: string, status: number): boolean {
  return status === 204 || status === 304 || method === "HEAD";
}

/** Replies that were let go of unread. */
const collected = new FinalizationRegistry<Exchange>((exchange) => exchange.abandon());

function ignore(): void {}

function lookQueued(exchange: Exchange): void {
  exchange.outwaited();
}

function lookIdle(exchange: Exchange): void {
  exchange.idled();
}
