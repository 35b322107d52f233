/**
 * One attempt on the wire: a call of grpc-js on a channel to one endpoint. It sends what the request
 * has and will have, holds what comes back until there is a listener, and settles its attempt once.
 *
 * A reply with one message is held back until its status is here: until then another endpoint may
 * still answer. A streamed reply is the reader's from its head on.
 */
import { AsyncResource } from "node:async_hooks";
import { Metadata, status as Status } from "@grpc/grpc-js";
import {
  httpCodeOfGrpc,
  type Attempt,
  type AttemptCanceller,
  type HeaderChanges,
  type MeshError,
  type Outcome,
  type Runtime,
  type ServiceConfig,
  type Timer,
  type Where,
} from "@inmesh/core/spi";
import type { WireCall, WireListener, WireStatus } from "../call-types.ts";
import { whereOf } from "./connect-failure.ts";
import { failureOf, isGrpc, isRefusal, type FailureFacts } from "./failure.ts";
import type { Lane, LaneUser } from "./lane.ts";
import { AUTHORIZATION, changeMetadata, FINAL, NACK, pushbackOf } from "../metadata.ts";
import { GrpcReply, type ReplySource } from "./reply.ts";
import type { GrpcRequest, RequestSender } from "./request.ts";
import { normal, outcomeOf, statusOf } from "../status.ts";

/** The server is notified of a cancelled call at once; where a write is under way, no later than this. */
const ABORT_PATIENCE_MS = 20;

/** What an exchange asks of the way to its endpoint. */
export interface ExchangeOwner {
  readonly service: ServiceConfig;
  /** What a cancelled attempt says of itself, and of the endpoint. */
  cancelled(
    exchange: Exchange,
    error: MeshError,
    outcome: "timeout" | "abandoned",
  ): { readonly error: MeshError; readonly outcome: Outcome };
  /** The error of an attempt that waited in vain for a connection. */
  outwaited(exchange: Exchange): MeshError;
  /** A dial failed for want of sockets; `code` says which. */
  exhaustedBy(code: unknown): void;
}

export class Exchange
  extends AsyncResource
  implements AttemptCanceller, FailureFacts, LaneUser, ReplySource, RequestSender, WireListener
{
  readonly attempt: Attempt<GrpcRequest>;
  /** The messages that the connection has taken. */
  place!: RequestSender["place"];
  /** … and those handed to it, which are at most one more. */
  #sent = 0;
  /** It has a connection: bytes may have left. */
  started = false;
  readonly #request: GrpcRequest;
  readonly #connection: ExchangeOwner;
  readonly #runtime: Runtime;
  #lane: Lane | undefined = undefined;
  #holding: Timer | undefined = undefined;
  #inner: WireCall | undefined = undefined;
  #resolve!: (reply: GrpcReply) => void;
  #reject!: (error: unknown) => void;
  /** Inside `send`. */
  #sending = false;
  #closed = false;
  #replied = false;
  #done = false;
  /** Ends the stream that a cancelled attempt has left behind. */
  #leave: (() => void) | undefined = undefined;
  /** Held until there is a listener. */
  #head: Metadata | undefined = undefined;
  #message: unknown = undefined;
  #status: WireStatus | undefined = undefined;
  #listener: WireListener | undefined = undefined;

  constructor(attempt: Attempt<GrpcRequest>, connection: ExchangeOwner, runtime: Runtime) {
    super("inmesh.grpc");
    this.attempt = attempt;
    this.#request = attempt.call.request;
    this.#connection = connection;
    this.#runtime = runtime;
  }

  send(lane: Lane): Promise<GrpcReply> {
    const promise = this.#promise(lane);
    this.#sending = true;
    this.#begin(lane, this.attempt.startedAt);
    this.#sending = false;
    return promise;
  }

  /** The endpoint is not dialled before `pauseMs` are over (G2). Who would wait too long goes elsewhere. */
  hold(lane: Lane, pauseMs: number): Promise<GrpcReply> {
    const promise = this.#promise(lane);
    lane.exchanges.add(this);
    const { queueMs } = this.#connection.service.timeouts;
    const run = (): void => {
      if (pauseMs > queueMs) this.#fail(this.#connection.outwaited(this), "abandoned");
      else this.#release();
    };
    this.#holding = this.#runtime.after(Math.min(pauseMs, queueMs), run, undefined, true);
    return promise;
  }

  #release(): void {
    this.#holding!.cancel();
    this.#holding = undefined;
    this.#begin(this.#lane!, this.#runtime.now());
  }

  #promise(lane: Lane): Promise<GrpcReply> {
    this.attempt.canceller = this;
    this.place = this.#request.sentBy(this, this.attempt.kind === "hedge");
    this.#lane = lane;
    return new Promise<GrpcReply>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  #begin(lane: Lane, now: number): void {
    const request = this.#request;
    const metadata = request.stamp(this.attempt, now);
    // Only a channel asks for credentials, and refuses two authorizations.
    const plain = request.credentials === undefined && metadata.get(AUTHORIZATION).length < 2;
    const inner = lane.open(this, request.pathname, request.host, plain);
    this.#inner = inner;
    if (request.credentials !== undefined) inner.setCredentials(request.credentials);
    inner.start(metadata, this);
    if (request.reading) inner.startRead();
    this.readable();
  }

  /** The lane has its connection. */
  connected(): void {
    if (this.#holding !== undefined) return this.#release();
    this.started = true;
    const { attempt } = this;
    if (attempt.sentAt > 0) return;
    // Inside `send` it is the instant of the pick, to a few microseconds.
    attempt.sentAt = this.#sending ? attempt.startedAt : this.#runtime.now();
    attempt.connectionReused = this.#lane!.reuse();
  }

  // ── the application's half ───────────────────────────────────────────────────────────────────

  /** Sends the next message when the last one has been taken: grpc-js holds one at a time. */
  readable(): void {
    const inner = this.#inner;
    const { place } = this;
    if (inner === undefined || this.#done || place.state !== "open") return;
    const message = this.#sent === place.position ? place.next : undefined;
    if (message !== undefined) {
      this.#sent++;
      const callback = (): void => this.#wrote();
      const { observed } = this.attempt;
      if (observed !== undefined) observed.sentBytes += message.bytes.length;
      const { flags } = message;
      inner.sendMessageWithContext(
        flags === undefined ? { callback } : { callback, flags },
        message.bytes,
      );
    }
    const request = this.#request;
    if (request.halfClosed && !this.#closed && this.#sent === request.messages.count) {
      this.#closed = true;
      inner.halfClose();
    }
  }

  #wrote(): void {
    if (this.#done) {
      this.#leave?.();
      return;
    }
    this.place.take();
    this.readable();
  }

  read(): void {
    if (!this.#done) this.#inner?.startRead();
  }

  /** Once it has been sent. */
  get lane(): Lane {
    return this.#lane!;
  }

  /** For messages of errors. */
  get where(): Where {
    const { call, endpoint } = this.attempt;
    return whereOf(this.#lane?.credentials, call.service, endpoint?.address ?? "");
  }

  /** grpc-js's own call, for what it alone knows. */
  get inner(): WireCall | undefined {
    return this.#inner;
  }

  /** The head of a reply is here: the server has the request. */
  get headed(): boolean {
    return this.#head !== undefined;
  }

  /** Before it is delivered. A reply of nothing but trailers has no head, and keeps what it has. */
  changeHead(changes: HeaderChanges): void {
    if (this.#head !== undefined) changeMetadata(this.#head, changes);
  }

  /** The reply has been given to the mesh. */
  get replied(): boolean {
    return this.#replied;
  }

  /**
   * The endpoint has taken all that was written, and the caller has not said that this was all: its stream
   * may have been destroyed, which grpc-js does not report. The time that passes is not the endpoint's.
   */
  get #waitsForCaller(): boolean {
    const { halfClosed, messages } = this.#request;
    return !halfClosed && this.place.position === messages.count;
  }

  /** From here on everything goes to the listener, what is held first. */
  deliver(listener: WireListener): void {
    this.#request.answeredBy(this);
    this.#listener = listener;
    if (this.#head !== undefined) listener.onReceiveMetadata(this.#head);
    if (this.#message !== undefined) {
      const message = this.#message;
      this.#message = undefined;
      listener.onReceiveMessage(message);
    }
    if (this.#status !== undefined) listener.onReceiveStatus(this.#status);
  }

  // ── grpc-js's half ───────────────────────────────────────────────────────────────────────────

  onReceiveMetadata(metadata: Metadata): void {
    // What is not gRPC is a middlebox's page: its status follows, and is the reply.
    if (this.#done || !isGrpc(metadata)) return;
    this.#head = metadata;
    this.#lane!.streamAnswered();
    const attempt = this.attempt;
    if (this.#request.unary) return;
    // Only observers ask when the head of a stream was here.
    attempt.answered(attempt.observed === undefined ? 0 : this.#runtime.now());
    attempt.code = 200;
    this.#reply("success", 200, metadata, undefined);
    if (this.#listener !== undefined) {
      this.runInAsyncScope(giveHead, undefined, this.#listener, metadata);
    }
  }

  onReceiveMessage(message: unknown): void {
    if (this.#done) return;
    const attempt = this.attempt;
    if (attempt.answeredAt === 0) attempt.answeredAt = this.#runtime.now();
    const { observed } = attempt;
    if (observed !== undefined && Buffer.isBuffer(message))
      observed.receivedBytes += message.length;
    const listener = this.#listener;
    if (this.#request.unary) this.#only(message);
    else if (listener === undefined) this.#message = message;
    else this.runInAsyncScope(giveMessage, undefined, listener, message);
  }

  /** grpc-js reports the status of a success when all was read, so a second message is asked for. */
  #only(message: unknown): void {
    if (this.#message === undefined) {
      this.#message = message;
      this.#inner?.startRead();
      return;
    }
    this.#message = undefined;
    const details = "The server answered with more than one message where one belongs";
    this.onReceiveStatus({ code: Status.UNIMPLEMENTED, details, metadata: new Metadata() });
    this.#abort(details);
  }

  onReceiveStatus(received: WireStatus): void {
    if (this.#done) return;
    const status = normal(received);
    const attempt = this.attempt;
    if (status.code === Status.CANCELLED && isAtDeadline(attempt.call.deadlineAt, this.#runtime)) {
      // The server saw the deadline first and reset the stream: our own timer says so in a moment.
      return;
    }
    const lane = this.#lane!;
    const { connectFailed, error, outcome: charged, sessionGone } = failureOf(status, this);
    if (sessionGone) lane.sessionGone();
    if (isRefusal(status, this)) lane.streamRefused();
    else if (error === undefined) lane.streamAnswered();
    if (error !== undefined) {
      attempt.connectFailed = connectFailed;
      if (connectFailed) lane.failed(error.reason);
      if (error.reason === "local_exhaustion") {
        this.#connection.exhaustedBy((error.cause as { code?: unknown }).code);
      }
      this.#fail(error, charged);
      return;
    }
    this.#end();
    const { code, metadata } = status;
    const pushback = pushbackOf(metadata);
    const hinted = typeof pushback === "number";
    const own = code === Status.DEADLINE_EXCEEDED && this.#waitsForCaller;
    const outcome = own ? "abandoned" : (this.#classified(code) ?? outcomeOf(code, hinted));
    attempt.code = httpCodeOfGrpc(code);
    attempt.status = code;
    attempt.callerFault = own || (outcome === "success" && code !== Status.OK);
    if (hinted && outcome === "overloaded") attempt.busyForMs = pushback;
    if (attempt.answeredAt === 0) attempt.answeredAt = this.#runtime.now();
    attempt.answered(attempt.answeredAt);
    this.#status = status;
    attempt.settle(outcome);
    if (this.#replied) this.#deliverStatus(status);
    else this.#reply(outcome, attempt.code, metadata, pushback);
  }

  /** What the application's own rule says. One that throws says nothing. */
  #classified(code: Status): Outcome | undefined {
    const { classify, pathname } = this.#request;
    if (classify === undefined || code === Status.OK) return undefined;
    try {
      return classify(code, pathname);
    } catch {
      return undefined;
    }
  }

  #reply(
    outcome: Outcome,
    code: number,
    metadata: Metadata,
    pushback: number | "stop" | undefined,
  ): void {
    this.#replied = true;
    // A message has come: whatever the status says now, it is not asked for again.
    if (this.#message !== undefined) this.attempt.call.replayable = false;
    const refused = outcome !== "success";
    const nacked = refused && this.#connection.service.trustNacks && metadata.get(NACK).length > 0;
    const final = refused && (pushback === "stop" || metadata.get(FINAL).length > 0);
    const waitMs = typeof pushback === "number" ? pushback : undefined;
    this.#resolve(new GrpcReply(this, outcome, code, nacked, final, waitMs));
  }

  // ── the mesh's half ──────────────────────────────────────────────────────────────────────────

  cancelAttempt(error: MeshError, outcome: "timeout" | "abandoned"): void {
    if (this.#done) return;
    const verdict = this.#connection.cancelled(this, error, outcome);
    if (this.started && outcome === "timeout") this.#lane?.suspect(this.attempt.startedAt);
    const own = error.code === "deadline_exceeded" && this.#waitsForCaller;
    if (own) this.attempt.callerFault = true;
    this.#fail(verdict.error, own ? "abandoned" : verdict.outcome);
    this.#abort(error.message);
  }

  /**
   * Notifies the server. Not between a write and its callback: Node then drops the RST_STREAM with the
   * data, and the server waits for ever. A write that is stuck is not waited for.
   */
  #abort(why: string): void {
    const inner = this.#inner;
    if (inner === undefined) return;
    if (this.started) this.#lane!.streamReset();
    if (!this.started || this.#sent === this.place.position) {
      inner.cancelWithStatus(Status.CANCELLED, why);
      return;
    }
    const timer = this.#runtime.after(ABORT_PATIENCE_MS, () => this.#leave?.(), undefined);
    this.#leave = () => {
      this.#leave = undefined;
      timer.cancel();
      inner.cancelWithStatus(Status.CANCELLED, why);
    };
  }

  /** No connection came about. */
  refuse(error: MeshError): void {
    if (this.#done) return;
    this.attempt.connectFailed = true;
    this.#lane?.failed(error.reason);
    this.#fail(error, "failure");
    this.#abort(error.message);
  }

  /** The rest is not wanted. */
  discard(): void {
    if (this.#done) return;
    this.#end();
    this.attempt.settle("abandoned");
    this.#abort("the reply was not wanted");
  }

  #fail(error: MeshError, outcome: Outcome): void {
    this.#end();
    const attempt = this.attempt;
    error.endpoint ??= attempt.endpoint?.address;
    attempt.error = error;
    attempt.settle(outcome);
    if (!this.#replied) {
      this.#reject(error);
      return;
    }
    const status = statusOf(error);
    this.#status = status;
    this.#deliverStatus(status);
  }

  #deliverStatus(status: WireStatus): void {
    const listener = this.#listener;
    if (listener !== undefined) this.runInAsyncScope(giveStatus, undefined, listener, status);
  }

  #end(): void {
    this.#done = true;
    this.#holding?.cancel();
    this.place.close();
    this.#lane?.left(this);
  }
}

/** How much earlier than ours a server's clock may end a call. */
const SKEW_MS = 2;

function isAtDeadline(deadlineAt: number, runtime: Runtime): boolean {
  return deadlineAt - runtime.now() <= SKEW_MS;
}

function giveHead(listener: WireListener, metadata: Metadata): void {
  listener.onReceiveMetadata(metadata);
}

function giveMessage(listener: WireListener, message: unknown): void {
  listener.onReceiveMessage(message);
}

function giveStatus(listener: WireListener, status: WireStatus): void {
  listener.onReceiveStatus(status);
}
