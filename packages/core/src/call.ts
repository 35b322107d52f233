/**
 * The two inputs of the pipeline. A Call is what the application asked for; an Attempt is one try
 * of it against one endpoint. Both are one mutable object each, because a layer that copies them
 * costs more than it does: the rule is one writer per field, named in its comment.
 */
import { AttemptHeaders } from "./attempt-headers.ts";
import type { BreakerState } from "./breaker/breaker.ts";
import { type MeshError, stacklessError, type NoRetry, type Progress } from "./errors.ts";
import type { HeaderChanges } from "./header-changes.ts";
import type { Timer } from "./runtime/runtime.ts";
import type { ServerPeer } from "./tls/peer.ts";

/**
 * What one attempt says about the endpoint that served it. Only the transport judges;
 * breakers, balancers, budgets and metrics read its verdict.
 */
export type Outcome =
  | "success" // the endpoint did its job; a caller error such as 404 is still its job done
  | "failure" // the endpoint is at fault: reset, 5xx, after the request was sent
  | "timeout" // the deadline passed while the endpoint held the attempt
  | "overloaded" // refused before work began: 429, 503 + Retry-After, REFUSED_STREAM
  | "abandoned"; // we stopped listening, or it never left: says nothing about the endpoint

/**
 * Why this attempt was made: the first, a policy retry, the re-send of one never sent (R0), or one beside an
 * attempt that was still running.
 */
export type AttemptKind = "first" | "retry" | "resend" | "hedge";

/** What every layer may know of a reply, whatever the transport. */
export interface Reply {
  /** The verdict as the reply starts. The attempt may still settle with a worse one. */
  readonly outcome: Outcome;
  /** The peer itself guarantees that it did not process the request (faults.md 1.1 f). */
  readonly nacked: boolean;
  /** A protocol's number for the result (an HTTP status), which routes list for retries. */
  readonly code: number;
  /** The server's request to wait before the next attempt; undefined when it gave none. */
  readonly retryAfterMs: number | undefined;
  /** The pushback is for the whole service: another endpoint must not be asked either. */
  readonly waitsForAll: boolean;
  /** Once, before the caller has the reply; what the layers below it ask does not change. Must not throw. */
  changeHeaders(changes: HeaderChanges): void;
  /** Drops an unread body so that its connection can be reused. Idempotent. */
  discard(): void;
  /** Its sender has retried already: another try from here would multiply theirs. */
  readonly final: boolean;
}

/** Who set the deadline in force: options of the call, the request being served, a route, or the service. */
export type DeadlineSource = "call" | "served request" | "route" | "service";

/** What counts a call when it is over; bound to a route when the route is compiled. */
export interface CallRecorder {
  ended(call: Call, outcome: Outcome, error: MeshError | undefined): void;
}

/** Notifies the observers of the mesh of a call; observe/call-observation.ts. */
export interface CallObserved extends CallRecorder {
  /** An endpoint was picked, and nothing has been sent yet. */
  attemptStarted(attempt: Attempt): void;
}

/** The same about an attempt. It exists only while an observer of the call is attached. */
export interface AttemptObserved extends AttemptListener {
  /** The head of the reply is here, since `at`; 0: the attempt ends in the same turn. */
  answered(at: number): void;
  /** What it is sent on, if the transport knows who is at its other end. Writer: transport. */
  connection: { readonly peer: ServerPeer } | undefined;
  /** Bytes of bodies, or of messages, so far. Writer: transport. */
  sentBytes: number;
  receivedBytes: number;
}

/** What becomes of a call whose reply, or error, goes to the application. */
export interface CallEnds {
  delivered(call: Call): void;
  /** The call has failed. Gives the error for its caller. */
  failed(call: Call, error: unknown): unknown;
}

/** The request being served that a call is made for; context.ts has the rest. */
export interface Served {
  release(call: Call): void;
  /** The call failed for good although this hop may retry. Writer: retry. */
  exhaust(): void;
}

/** Learns how an attempt ended: the cluster it ran in, and the attempt's record. */
export interface AttemptListener {
  settled(attempt: Attempt, outcome: Outcome): void;
}

/** Must make the pending send reject in the same turn, even while it is queued. */
export interface AttemptCanceller {
  cancelAttempt(error: MeshError, outcome: "timeout" | "abandoned"): void;
}

/** The endpoint as an attempt needs it; the cluster's Endpoint has the rest. */
export interface EndpointRef {
  /** `host:port` or `unix:path`. */
  readonly address: string;
  readonly zone: string | undefined;
  readonly breaker: { readonly state: BreakerState };
}

/** Runs a function in a context of the application's, such as that of a span, and gives what it gives. */
export type Within = <T>(run: () => T) => T;

/** Which rule of the picker decided; a closed set, for people who ask why. */
export type PickRule =
  | "only"
  | "rank"
  | "cost"
  | "slow-start"
  | "untried"
  | "scan"
  | "panic"
  | "turn";

/** One logical request, as the application sees it. Several attempts may serve it. */
export class Call<Req = unknown> {
  readonly service: string;
  readonly request: Req;
  /** Doing it twice is the same as doing it once: from the method; a route may vouch for it. Writers: protocol, route. */
  idempotent: boolean;
  /** The body can still be sent from its start. A transport clears it when it begins to consume a stream. */
  replayable: boolean;
  /**
   * No two attempts may send it at the same time: its body is a stream that is read as it leaves, or what
   * it asks for is a connection. Writer: protocol.
   */
  exclusive = false;
  /** Milliseconds on the runtime's monotonic clock; Infinity when none was set. Writer: deadline. */
  deadlineAt: number;
  /** Of a deadline that is set: for people, in its error. Writers: protocol, context, deadline. */
  deadlineFrom: DeadlineSource = "call";
  /** Until when the caller itself would wait, on the same clock; 0: it did not say. Writer: protocol. */
  askedUntil = 0;
  /** Attempt number this process was itself called with: above 1, only R0 re-sends are made here. */
  inheritedAttempt = 1;
  /** The deadline comes from an untrusted caller: passing it is not charged to the endpoint. Writers: protocol, deadline. */
  uncharged = false;
  /** It may go on for as long as both sides like: no default timeout covers it. Writer: protocol. */
  streaming = false;
  /** Writer: ServedRequest, as are its neighbours in the list of calls made for that request. */
  served: Served | undefined = undefined;
  previousAdopted: Call | undefined = undefined;
  nextAdopted: Call | undefined = undefined;
  /** Writers: protocol, where it has just read the clock; telemetry. */
  startedAt = 0;
  /**
   * The sampled trace that its measurements are examples of; undefined: it is in none. Writers: protocol, and an
   * observer that traces.
   */
  traceId: string | undefined = undefined;
  /** Name of the matched route. Writer: route. */
  route = "";
  recorder: CallRecorder | undefined = undefined;
  /** Undefined: no observer was attached when it started. Writer: telemetry. */
  observed: CallObserved | undefined = undefined;
  /** The attempt in progress; of several side by side the first, until one is chosen. Writers: retry, `choose`. */
  attempt: Attempt<Req> | undefined = undefined;
  /** All that ever ran side by side, in order; undefined: no two did. Writer: `Attempt.beside`. */
  beside: Attempt<Req>[] | undefined = undefined;
  /** Endpoints that failed this call, or were tried beside another, in order; undefined: none. Writers: retry, `avoid`. */
  tried: EndpointRef[] | undefined = undefined;
  /** Why the last attempt, which the policy would repeat, was not followed by another. Writer: retry. */
  noRetry: NoRetry | undefined = undefined;
  /** The deadline's timer. Writer: deadline. */
  timer: Timer | undefined = undefined;
  /** Called when an attempt has failed and another follows; gives its reply, or its error. Writer: protocol. Must not throw. */
  onRetry:
    | ((
        failed: Attempt,
        pauseMs: number,
        reply: Reply | undefined,
        error: MeshError | undefined,
      ) => void)
    | undefined = undefined;
  /** Ends a wait of the call that is not an attempt's: the pause before a retry. Writer: retry. */
  onCancel: ((error: MeshError) => void) | undefined = undefined;
  /** Called last when the call is cancelled. Writer: the guard of the application's layers. */
  onCancelled: ((error: MeshError) => void) | undefined = undefined;
  /** Runs once when the call is over. Writer: the protocol (removes the caller's abort listener). */
  onEnd: (() => void) | undefined = undefined;
  cancelled: MeshError | undefined = undefined;
  /** Neighbours in the list of calls in progress. Writer: ActiveCalls. */
  previous: Call | undefined = undefined;
  next: Call | undefined = undefined;
  #ended = false;

  constructor(
    service: string,
    request: Req,
    idempotent: boolean,
    replayable: boolean,
    deadlineAt: number = Infinity,
  ) {
    this.service = service;
    this.request = request;
    this.idempotent = idempotent;
    this.replayable = replayable;
    this.deadlineAt = deadlineAt;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** How far the call can have got: an attempt without an endpoint waits for the first answer of discovery (D22). */
  get progress(): Progress {
    const unsent = this.attempt?.endpoint === undefined && this.tried === undefined;
    return unsent ? "not-sent" : "maybe-processed";
  }

  /** Attempts made so far, which is the number of the last of them. */
  get attempts(): number {
    return Math.max(this.attempt?.number ?? 0, this.beside?.at(-1)?.number ?? 0);
  }

  /** Why there can be no attempt beside the one in progress; undefined: there can. */
  get noHedge(): NoRetry | undefined {
    if (this.cancelled !== undefined || this.#ended) return "deadline";
    if (!this.replayable || this.exclusive) return "not_replayable";
    // One layer repeats: what is a retry above stays one request all the way down.
    if (this.inheritedAttempt > 1) return "layer";
    return this.idempotent ? undefined : "not_idempotent";
  }

  /** How many of them were made beside one that was still running. */
  get hedges(): number {
    return this.beside?.filter(({ kind }) => kind === "hedge").length ?? 0;
  }

  /**
   * Ends everything done for this call. `outcome` is what the attempts in progress say about their
   * endpoints: `timeout` when a deadline passed, `abandoned` when the caller left.
   */
  cancel(error: MeshError, outcome: "timeout" | "abandoned"): void {
    if (this.cancelled !== undefined || this.#ended) return;
    this.cancelled = error;
    this.onCancel?.(error);
    this.attempt?.cancel(error, outcome);
    if (this.beside !== undefined) for (const one of this.beside) one.cancel(error, outcome);
    this.onCancelled?.(error);
  }

  /**
   * Says which of several attempts side by side the call goes on with; its reply, or its error, is what the
   * layer that started them gives next. The others end in the same turn with `hedge_lost`, which charges no
   * endpoint.
   */
  choose(attempt: Attempt<Req>): void {
    this.attempt = attempt;
    if (this.beside !== undefined) this.#endOthers(this.beside);
  }

  #endOthers(beside: readonly Attempt<Req>[]): void {
    for (const other of beside) {
      if (other === this.attempt) continue;
      this.avoid(other.endpoint);
      if (other.outcome === undefined) other.cancel(lost(other), "abandoned");
    }
  }

  /** The next attempt goes to another endpoint, if there is one. */
  avoid(endpoint: EndpointRef | undefined): void {
    if (endpoint === undefined || this.tried?.includes(endpoint) === true) return;
    (this.tried ??= []).push(endpoint);
  }

  /** The last byte was read, dropped or failed, or the call was refused. Disarms all that waits. */
  end(outcome: Outcome, error?: MeshError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.timer?.cancel();
    // No attempt outlives its call, whatever the layer that started it has done.
    if (this.beside !== undefined) this.#endOthers(this.beside);
    this.served?.release(this);
    this.recorder?.ended(this, outcome, error);
    this.observed?.ended(this, outcome, error);
    this.onEnd?.();
  }
}

/** What an attempt and the layer above it know of the endpoints that it was sent to one of. */
export interface AttemptCluster extends AttemptListener {
  /** Of the service whose endpoints they are. */
  readonly name: string;
  answered(attempt: Attempt): void;
  /** What the picker compares, of an endpoint of this cluster, now. */
  costOf(endpoint: EndpointRef): number;
  /** An endpoint that the call has not tried takes calls, and has not asked to be spared. */
  hasAnother(attempt: Attempt): boolean;
}

/** One try of a Call against one endpoint. */
export class Attempt<Req = unknown> {
  readonly call: Call<Req>;
  /** 1 for the first. */
  readonly number: number;
  readonly kind: AttemptKind;
  /** Writer: balance. */
  endpoint: EndpointRef | undefined = undefined;
  startedAt = 0;
  /** The loop clock as it started. Writer: balance. */
  stallMark = 0;
  /** It has waited for the first answer of discovery. Writer: balance. */
  heldUp = false;
  /** Writer: the picker. */
  rule: PickRule = "only";
  /** Its connection had carried an attempt before; undefined: it has none. Writer: transport. */
  connectionReused: boolean | undefined = undefined;
  /** It had a connection; 0 until then. Latency counts from here: dialling is no answer. Writer: transport. */
  sentAt = 0;
  /** First byte of the reply's body, or its end; 0 until then. Writer: transport. */
  answeredAt = 0;
  /** It settled; 0 until then. Writer: the cluster. */
  endedAt = 0;
  /**
   * What became of it is the caller's fault: a reply (4xx) that is a success, but whose speed proves nothing,
   * or time that was spent waiting for the rest of the request. Writer: transport.
   */
  callerFault = false;
  /** No connection came about: counts as a strike against the endpoint. Writer: transport. */
  connectFailed = false;
  /** The endpoint asks to be spared this long; 0: it did not. Writer: transport. */
  busyForMs = 0;
  /** The reply's code, or why there is none. For records. Writer: transport. */
  code = 0;
  /** The protocol's own status, where that is not `code`; undefined: there is none. Writer: transport. */
  status: number | undefined = undefined;
  /** Major version of the protocol on its connection; 0: it never had one, or the protocol has no versions. Writer: transport. */
  wireVersion = 0;
  /** Writers: transport; `cancel`, where nothing was sent yet. */
  error: MeshError | undefined = undefined;
  /** What ends it. Writers: transport; balance, while it waits for discovery. */
  canceller: AttemptCanceller | undefined = undefined;
  /** Writers: balance (the cluster) and telemetry. */
  cluster: AttemptCluster | undefined = undefined;
  recorder: AttemptListener | undefined = undefined;
  observed: AttemptObserved | undefined = undefined;
  /** What this attempt alone sends; undefined: what the call sends. Writer: `setHeader`. */
  headers: AttemptHeaders | undefined = undefined;
  /** Where it is sent; undefined: where the layer above it runs. Writer: an observation. */
  within: Within | undefined = undefined;
  /** Its reply was given to the application: the call ends with this attempt. Writer: telemetry. */
  delivered = false;
  outcome: Outcome | undefined = undefined;
  /** Neighbours in the endpoint's list of unanswered attempts. Writer: Endpoint. */
  older: Attempt | undefined = undefined;
  newer: Attempt | undefined = undefined;
  unanswered = false;

  constructor(call: Call<Req>, number: number, kind: AttemptKind) {
    this.call = call;
    this.number = number;
    this.kind = kind;
  }

  /** What the next hop reads: one layer retries, so what is a retry above is one all the way down. */
  get announcedNumber(): number {
    return Math.max(this.number, this.call.inheritedAttempt);
  }

  /**
   * A header field (gRPC: metadata) that this attempt sends in the place of the call's, before it is sent;
   * later it has no effect. Throws a TypeError for what cannot be sent (attempt-headers.ts).
   */
  setHeader(name: string, value: string): void {
    const headers = this.headers ?? new AttemptHeaders();
    headers.set(name, value);
    this.headers = headers;
  }

  /** Without effect on one that has settled. One that has not come as far as to the balancer is not sent. */
  cancel(error: MeshError, outcome: "timeout" | "abandoned"): void {
    if (this.outcome !== undefined) return;
    if (this.canceller === undefined) this.error = error;
    else this.canceller.cancelAttempt(error, outcome);
  }

  /**
   * Another attempt of the call while this one runs, or why there can be none. The layer that asks sends it
   * as it sent this one, and calls `call.choose` for one of them before it gives that one's reply or error;
   * what it gets for the others it drops. Counts as an attempt of `retry.attempts`; no budget is asked.
   */
  beside(): Attempt<Req> | NoRetry {
    const { call } = this;
    const refused = call.noHedge;
    if (refused !== undefined) return refused;
    const all = (call.beside ??= []);
    if (!all.includes(this)) all.push(this);
    const next = new Attempt(call, call.attempts + 1, "hedge");
    next.recorder = this.recorder;
    for (const one of all) call.avoid(one.endpoint);
    all.push(next);
    return next;
  }

  /**
   * The head of the reply is here: the attempt no longer ages. Called by the transport, with the instant, which
   * observers see; 0 where it settles in the same turn, because the clock is read for that.
   */
  answered(at: number): void {
    this.cluster?.answered(this);
    this.observed?.answered(at);
  }

  /**
   * The transport's verdict, once: the last byte was read, dropped or failed. A second call is
   * ignored, so that a late event of a socket cannot count twice.
   */
  settle(outcome: Outcome): void {
    if (this.outcome !== undefined) return;
    this.outcome = outcome;
    // Where a reply has begun, retry does not see the error.
    if (this.error !== undefined) this.error.attempts = Math.max(this.number, this.call.attempts);
    this.cluster?.settled(this, outcome);
    this.recorder?.settled(this, outcome);
    this.observed?.settled(this, outcome);
    if (this.delivered) this.call.end(outcome, this.error);
  }
}

/** What was sent, with the end of its call. */
export function endWith<R>(call: Call, sent: Promise<R>, ends: CallEnds): Promise<R> {
  return sent.then(
    (reply) => {
      ends.delivered(call);
      return reply;
    },
    (error: unknown) => {
      throw ends.failed(call, error);
    },
  );
}

function lost({ call, endpoint }: Attempt): MeshError {
  const where = endpoint === undefined ? "" : ` → ${endpoint.address}`;
  const message = `${call.service}${where}: another attempt of the same call was chosen`;
  return stacklessError("cancelled", "hedge_lost", "maybe-processed", message);
}
