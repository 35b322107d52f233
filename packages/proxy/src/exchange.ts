/**
 * One attempt on its way: between the pipeline, which made it, and the connection that carries it. The codec of
 * the connection drives it by events; it judges, keeps the clock, and settles its attempt exactly once. The
 * reply of the call is the exchange itself, and the client's side reads the body through it.
 */
import {
  httpCodeOfGrpc,
  MeshError,
  type Attempt,
  type AttemptCanceller,
  type ErrorCode,
  type ErrorReason,
  type HeaderChanges,
  type Outcome,
  type Reply,
  type Runtime,
  type ServiceConfig,
  type Timer,
} from "@inmesh/core/spi";
import {
  ATTEMPT,
  classify,
  failureOfMeshError,
  HOPS,
  isCallerFault,
  PRIORITY,
  retryAfterMs,
  TIMEOUT_MS,
} from "@inmesh/http/spi/codec";
import { Defects } from "./defects.ts";
import { Field, Fields, KIND, kindOf, type FieldVisitor } from "./fields.ts";
import {
  grpcOutcomeOf,
  grpcPushbackMs,
  grpcStatusOf,
  grpcStatusOfHttp,
  UNKNOWN,
} from "./grpc-status.ts";
import type { ReplySink, Wire } from "./halves.ts";
import { isAnyClient, type ReplyHead } from "./message.ts";
import type { ProxyRequest } from "./request.ts";

/** A server may send 103 a few times; more is an attack on patience. */
const MAX_INTERIM = 32;
/** A body dropped unread is read to its end up to this size: cheaper than a new connection. */
const DISCARD_BYTES = 65_536;
const NO_VALUES: Readonly<Record<string, string | undefined>> = {};
const NO_FIELDS = new Fields();
const PREVIOUS_ATTEMPTS = "grpc-previous-rpc-attempts";

export class Exchange implements AttemptCanceller, Reply {
  readonly attempt: Attempt<ProxyRequest>;
  readonly request: ProxyRequest;
  readonly config: ServiceConfig;
  /** Of the final reply; undefined before it is here. */
  head: ReplyHead | undefined = undefined;
  /** Neighbours in a queue of those that wait for a connection. Writer: the pool. */
  next: Exchange | undefined = undefined;
  readonly #runtime: Runtime;
  readonly #isGrpc: boolean;
  #resolve!: (reply: Exchange) => void;
  #reject!: (error: unknown) => void;
  #wire: Wire | undefined = undefined;
  #sink: ReplySink | undefined = undefined;
  #verdict: Outcome | undefined = undefined;
  #done = false;
  #interim = 0;
  #isUpgrade = false;
  #isDiscarding = false;
  #discarded = 0;
  #retryAfterMs: number | undefined | null = null;
  #idle: Timer | undefined = undefined;
  #queue: Timer | undefined = undefined;
  #lastByteAt = 0;
  #isPaused = false;
  #wasQueued = false;

  constructor(attempt: Attempt<ProxyRequest>, config: ServiceConfig, runtime: Runtime) {
    this.attempt = attempt;
    this.request = attempt.call.request;
    this.config = config;
    this.#runtime = runtime;
    this.#isGrpc = this.request.isGrpc;
  }

  /** `dispatch` gives it to a connection, or puts it into a queue; must not throw. */
  send(pool: { dispatch(exchange: Exchange): void }): Promise<Exchange> {
    this.attempt.canceller = this;
    const promise = new Promise<Exchange>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    const { sentHeadBytes } = this.request;
    const { maxRequestHeaderBytes } = this.config.limits;
    if (sentHeadBytes > maxRequestHeaderBytes) {
      const what = `target and headers have ${sentHeadBytes} bytes, more than limits.maxRequestHeaderBytes (${maxRequestHeaderBytes})`;
      this.fail(this.#notSent("bad_request", "header_too_large", what), "abandoned");
    } else pool.dispatch(this);
    return promise;
  }

  /** It is not even queued: so many attempts wait for a connection already. */
  refuseQueue(waiting: number): void {
    const what = `${waiting} attempts wait for a connection already (limits.maxQueuedPerEndpoint)`;
    this.fail(this.#notSent("overloaded", "queue_full", what));
  }

  #notSent(code: ErrorCode, reason: ErrorReason, what: string, cause?: MeshError): MeshError {
    return new MeshError({
      code,
      reason,
      message: `${this.where}: ${what}`,
      progress: "not-sent",
      ...(cause !== undefined && { cause }),
      stackless: true,
    });
  }

  /** It was cancelled, failed or ended: it wants no connection, and nothing that comes for it counts. */
  get over(): boolean {
    return this.#done;
  }

  get where(): string {
    return `${this.attempt.call.service} → ${this.attempt.endpoint?.address}`;
  }

  /** What is sent as `Host`, or `:authority`. */
  get authority(): string {
    const { owner, head } = this.request;
    return owner.keepsAuthority && head.authority !== "" ? head.authority : this.config.authority;
  }

  // ── what is sent ─────────────────────────────────────────────────────────────────────────────

  /** Every field that this attempt sends but those of framing, connection and authority. */
  visitFields(visitor: FieldVisitor): void {
    const { request, attempt } = this;
    const { fields } = request.head;
    const { headers, call } = attempt;
    if (headers === undefined) visitor.fields(fields);
    else {
      fields.visitWithout(headers.taken, visitor);
      const { given } = headers;
      for (let i = 0; i < given.length; i += 2) visitor.text(given[i]!, given[i + 1]!);
    }
    const { via } = request.owner;
    if (via !== undefined) visitor.text("via", `${request.httpVersion} ${via}`);
    const { trust, peer } = request.connection;
    if (isAnyClient(trust) && peer.address !== undefined) {
      // What a client that may be any says of itself was taken out (`KIND.forwarded`).
      visitor.text("x-forwarded-for", peer.address);
      visitor.text("x-forwarded-proto", request.head.scheme);
    }
    if (this.#isGrpc && attempt.announcedNumber > 1) {
      visitor.text(PREVIOUS_ATTEMPTS, String(attempt.announcedNumber - 1));
    }
    if (!this.config.peer) return;
    const { deadlineAt } = call;
    if (deadlineAt !== Infinity) {
      const leftMs = deadlineAt - (attempt.sentAt || attempt.startedAt);
      visitor.text(TIMEOUT_MS, `${Math.max(1, Math.ceil(leftMs))}`);
    }
    if (attempt.announcedNumber > 1) visitor.text(ATTEMPT, String(attempt.announcedNumber));
    visitor.text(HOPS, `${request.hops + 1}`);
    if (request.priority !== "normal") visitor.text(PRIORITY, request.priority);
  }

  // ── what the connection says ─────────────────────────────────────────────────────────────────

  /** No connection is free: the pool keeps it, until `begin` or until it is `over`. */
  queued(): void {
    // From one queue to another: it has waited since the first.
    if (this.#queue !== undefined) return;
    this.#wasQueued = true;
    const { queueMs } = this.config.timeouts;
    const leftMs = this.attempt.call.deadlineAt - this.#runtime.now();
    if (queueMs < leftMs) this.#queue = this.#runtime.after(queueMs, lookQueued, this);
  }

  /** The request is sent on this wire. `version`: of HTTP, 1 or 2. False: it is over, and nothing may be sent. */
  begin(wire: Wire, version: number, isReused: boolean): boolean {
    if (this.#done) return false;
    const { attempt } = this;
    this.#wire = wire;
    this.#queue?.cancel();
    // Without a wait it is the instant of the pick.
    attempt.sentAt = this.#wasQueued ? this.#runtime.now() : attempt.startedAt;
    attempt.wireVersion = version;
    attempt.connectionReused = isReused;
    return true;
  }

  /** Bytes of the body went out. */
  sent(bytes: number): void {
    const { observed } = this.attempt;
    if (observed !== undefined) observed.sentBytes += bytes;
  }

  /** Informative. False: they are too many; the exchange has failed, and the wire is aborted. */
  interim(head: ReplyHead): boolean {
    if (this.#done) return false;
    if (++this.#interim > MAX_INTERIM) {
      this.fail(this.badReply("unexpected_1xx", `more than ${MAX_INTERIM} interim replies`));
      this.#wire!.abort();
      return false;
    }
    this.request.sink.interim(head);
    return true;
  }

  /** The final head, which is kept until the end. What follows waits for `Wire.resume`. */
  replied(head: ReplyHead): void {
    if (this.#done) return;
    const { attempt } = this;
    this.head = head;
    const { status } = head;
    const grpcStatus = this.#isGrpc ? this.#grpcStatusOf(head) : -1;
    let outcome: Outcome;
    if (grpcStatus >= 0) outcome = this.#judgeGrpc(grpcStatus, head.fields);
    else {
      outcome = classify(status, status === 503 && this.retryAfterMs !== undefined);
      attempt.code = status;
      attempt.callerFault = isCallerFault(status);
    }
    if (outcome === "overloaded") attempt.busyForMs = this.retryAfterMs ?? 0;
    // The instant is for observers.
    attempt.answered(attempt.observed === undefined ? 0 : this.#runtime.now());
    this.#verdict = outcome;
    this.#isPaused = true;
    this.#resolve(this);
  }

  /** False: nothing more before `Wire.resume`. */
  data(bytes: Buffer, start: number, end: number): boolean {
    if (this.#done) return true;
    const { attempt } = this;
    if (attempt.observed !== undefined) attempt.observed.receivedBytes += end - start;
    if (this.#idle !== undefined) this.#lastByteAt = this.#runtime.now();
    if (this.#sink !== undefined) {
      this.#isPaused = !this.#sink.data(bytes, start, end);
      if (this.#isPaused) this.#begun();
      return !this.#isPaused;
    }
    this.#discarded += end - start;
    if (this.#discarded > DISCARD_BYTES) this.abandon();
    return true;
  }

  /** What the connection had is delivered, and more comes later. */
  flush(): void {
    if (this.#done) return;
    this.#begun();
    this.#sink?.flush();
  }

  /**
   * Its body has begun, and has not ended, so it may stall from here on. One that ends in the same turn has begun with
   * its end, and needs no clock.
   */
  #begun(): void {
    const { attempt } = this;
    if (attempt.answeredAt !== 0) return;
    const now = this.#runtime.now();
    attempt.answeredAt = now;
    const { bodyIdleMs } = this.config.timeouts;
    // A stream of gRPC may be silent for as long as both sides like.
    if (!this.#isGrpc && attempt.call.deadlineAt - now > bodyIdleMs) {
      this.#lastByteAt = now;
      this.#idle = this.#runtime.after(bodyIdleMs, lookIdle, this);
    }
  }

  /** All of the reply is here. */
  end(trailers: Fields | undefined): void {
    if (this.#done) return;
    this.#done = true;
    this.#idle?.cancel();
    if (this.#isGrpc && this.attempt.status === undefined && this.#verdict === "success") {
      const status = grpcStatusOf(trailers);
      // A stream that ends without a status has failed (faults.md G8).
      this.#verdict = this.#judgeGrpc(status < 0 ? UNKNOWN : status, trailers ?? NO_FIELDS);
    }
    const sink = this.#sink;
    if (sink !== undefined) {
      const { request } = this;
      request.isReplied = true;
      if (this.#isGrpc) {
        request.sentGrpcStatus = this.attempt.status;
        request.sentOutcome = this.#verdict;
      }
      // First, so that its last bytes are on their way when this is measured.
      sink.end(trailers);
    }
    if (!this.#isUpgrade) this.attempt.settle(this.#verdict!);
  }

  /** Without a message it stands in the head, and a server that speaks no gRPC says it by its own; -1: it is to come. */
  #grpcStatusOf({ status, fields }: ReplyHead): number {
    return status === 200 ? grpcStatusOf(fields) : grpcStatusOfHttp(status);
  }

  #judgeGrpc(status: number, fields: Fields): Outcome {
    const { attempt } = this;
    const outcome = grpcOutcomeOf(status, fields);
    attempt.status = status;
    attempt.code = httpCodeOfGrpc(status);
    attempt.callerFault = outcome === "success" && status !== 0;
    if (status === 0) this.request.methods?.add(this.request.path);
    return outcome;
  }

  /**
   * 101: the connection speaks another protocol. For retries, breakers and metrics the attempt ends here; its
   * bytes go on as `data`, and as the body of the request, until both have ended.
   */
  upgraded(head: ReplyHead): void {
    if (this.#done) return;
    const { attempt } = this;
    attempt.call.choose(attempt);
    this.head = head;
    this.#isUpgrade = true;
    this.#verdict = "success";
    attempt.code = head.status;
    const now = this.#runtime.now();
    attempt.answered(now);
    attempt.answeredAt = now;
    attempt.settle("success");
    this.#isPaused = true;
    this.#resolve(this);
  }

  /** It has failed. `said`: what that says about the endpoint. Default: what such an error says. */
  fail(cause: MeshError, said?: Outcome): void {
    if (this.#done) return;
    this.#done = true;
    this.#idle?.cancel();
    this.#queue?.cancel();
    const { attempt } = this;
    const failure = failureOfMeshError(cause);
    const { error, busyForMs } = failure;
    const outcome = said ?? failure.outcome;
    attempt.connectFailed = failure.connectFailed && outcome !== "abandoned";
    if (busyForMs > 0) attempt.busyForMs = busyForMs;
    error.endpoint ??= attempt.endpoint?.address;
    attempt.error = error;
    if (this.#verdict === undefined) {
      attempt.settle(outcome);
      this.#reject(error);
      return;
    }
    const sink = this.#sink;
    if (sink !== undefined) {
      this.request.isBroken = outcome !== "abandoned";
      sink.fail(error);
    }
    attempt.settle(outcome);
  }

  badReply(
    reason:
      | "unexpected_1xx"
      | "response_header_too_large"
      | "malformed_response"
      | "content_length_mismatch",
    what: string,
  ): MeshError {
    return new MeshError({
      code: "bad_response",
      reason,
      message: `${this.where}: ${what}`,
      progress: "maybe-processed",
      stackless: true,
    });
  }

  /** An error of the proxy's own has ended its connection, which says nothing about the endpoint. */
  defective(): void {
    this.fail(
      new MeshError({
        code: "connection_lost",
        reason: this.head === undefined ? "reset_before_response" : "reset_mid_response",
        message: `${this.where}: an error of mesh-proxy's own has ended the connection: its log has it (proxy.defect)`,
        progress: "maybe-processed",
        stackless: true,
      }),
      "abandoned",
    );
  }

  // ── what the client's side says ──────────────────────────────────────────────────────────────

  /** The body goes to `sink`, of which the head has been given already. */
  sendTo(sink: ReplySink): void {
    this.#sink = sink;
    // It failed between its head and now.
    if (this.#done) {
      if (this.attempt.error !== undefined) sink.fail(this.attempt.error);
      return;
    }
    this.resume();
  }

  /** The sink takes more. */
  resume(): void {
    if (!this.#isPaused || this.#done) return;
    this.#isPaused = false;
    if (this.#idle !== undefined) this.#lastByteAt = this.#runtime.now();
    this.#wire!.resume();
  }

  /** The rest of the body is not wanted; the verdict is the reply's own. */
  abandon(): void {
    if (this.#done) return;
    this.#done = true;
    this.#idle?.cancel();
    if (!this.#isUpgrade) this.attempt.settle(this.#verdict ?? "abandoned");
    this.#wire?.abort();
  }

  // ── the mesh's side ──────────────────────────────────────────────────────────────────────────

  /** Core calls it from timers, so it does not throw. */
  cancelAttempt(error: MeshError, outcome: "timeout" | "abandoned"): void {
    try {
      this.#cancel(error, outcome);
    } catch (defect) {
      this.broke(defect);
    }
  }

  #cancel(error: MeshError, outcome: "timeout" | "abandoned"): void {
    if (this.#done) return;
    const wire = this.#wire;
    if (wire === undefined && outcome === "timeout") {
      const reason = error.reason === "attempt_timeout" ? "attempt_timeout" : "queue_wait";
      const what = "deadline exceeded while waiting for a connection";
      this.fail(this.#notSent("deadline_exceeded", reason, what, error), "abandoned");
      return;
    }
    this.fail(error, outcome);
    wire?.abort(outcome === "timeout");
  }

  get outcome(): Outcome {
    return this.#verdict!;
  }

  get nacked(): boolean {
    return this.config.trustNacks && this.head!.nacked;
  }

  get final(): boolean {
    return this.head!.final || this.retryAfterMs === Infinity;
  }

  /** Of gRPC the HTTP status that its own stands for, where that is in the head. */
  get code(): number {
    return this.attempt.code;
  }

  /** The connection speaks another protocol from now on. */
  get isUpgrade(): boolean {
    return this.#isUpgrade;
  }

  get retryAfterMs(): number | undefined {
    if (this.#retryAfterMs !== null) return this.#retryAfterMs;
    const { fields } = this.head!;
    if (this.#isGrpc) return (this.#retryAfterMs = grpcPushbackMs(fields));
    const after = fields.single("retry-after");
    const values =
      after === undefined ? NO_VALUES : { "retry-after": after, date: fields.single("date") };
    return (this.#retryAfterMs = retryAfterMs(values));
  }

  get waitsForAll(): boolean {
    // A server's pushback is about the call, wherever it is sent next (gRFC A6).
    return this.#isGrpc || this.head!.status === 429;
  }

  changeHeaders({ taken, given }: HeaderChanges): void {
    const { fields } = this.head!;
    fields.remove(taken);
    for (let i = 0; i < given.length; i += 2) {
      if (kindOf(given[i]!) === KIND.plain) fields.add(new Field(given[i]!, given[i + 1]!));
    }
  }

  discard(): void {
    if (this.#done || this.#isDiscarding) return;
    this.#isDiscarding = true;
    this.resume();
  }

  // ── its clocks ───────────────────────────────────────────────────────────────────────────────

  /** An error of the proxy's own at a timer of it. Does not throw. */
  broke(error: unknown): void {
    Defects.of(this.#runtime).end(error, { destroy: () => this.defective() });
  }

  /** Still without a connection after `queueMs`: another endpoint may have one. */
  outwaited(): void {
    if (this.#done || this.#wire !== undefined) return;
    const { queueMs } = this.config.timeouts;
    const what = `no free connection within ${queueMs} ms (timeouts.queue)`;
    this.fail(this.#notSent("deadline_exceeded", "queue_wait", what), "abandoned");
  }

  /** No byte of the body came for `bodyIdleMs`: the peer stalls, unless it waits for the client. */
  idled(): void {
    if (this.#done) return;
    const { bodyIdleMs } = this.config.timeouts;
    const since = this.#isPaused ? this.#runtime.now() : this.#lastByteAt;
    const leftMs = since + bodyIdleMs - this.#runtime.now();
    if (leftMs > 0) {
      this.#idle = this.#runtime.after(leftMs, lookIdle, this);
      return;
    }
    this.fail(
      new MeshError({
        code: "deadline_exceeded",
        reason: "idle_timeout",
        message: `${this.where}: no byte of the body for ${bodyIdleMs} ms (timeouts.bodyIdle): find out why the server paused, or raise the limit on a route that streams`,
        progress: "maybe-processed",
        stackless: true,
      }),
      "timeout",
    );
    this.#wire?.abort(true);
  }
}

function lookQueued(exchange: Exchange): void {
  try {
    exchange.outwaited();
  } catch (error) {
    exchange.broke(error);
  }
}

function lookIdle(exchange: Exchange): void {
  try {
    exchange.idled();
  } catch (error) {
    exchange.broke(error);
  }
}
