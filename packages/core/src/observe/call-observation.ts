/**
 * A call and its attempts as observers see them: one object for each, which the pipeline tells what
 * happens and which reads the rest off the call when it is asked. They exist only for calls that began
 * while somebody observed, and tell those observers alone.
 */
import { PICKED_BECAUSE } from "../balance/why.ts";
import type {
  Attempt,
  AttemptKind,
  AttemptObserved,
  Call,
  CallObserved,
  Outcome,
  PickRule,
} from "../call.ts";
import { ServedRequest } from "../context.ts";
import type { ErrorReason, MeshError, NoRetry, Progress } from "../errors.ts";
import type { RouteFacts } from "../route/facts.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Attached } from "./attached.ts";
import type { EndedAttempt, EndedCall, ObservedRequest, StartedAttempt } from "./observer.ts";

/** What an observation has to know of the protocol of its call. */
export interface ObservedProtocol {
  readonly name: string;
  /** The status that a caller sees for a failure of the mesh's own; undefined: it sees the error itself. */
  readonly statusOf?: ((error: MeshError) => number) | undefined;
}

export class CallObservation implements CallObserved, EndedCall {
  readonly id: number;
  readonly servedFor: ObservedRequest | undefined;
  outcome: Outcome = "abandoned";
  error: MeshError | undefined = undefined;
  sentBytes = 0;
  receivedBytes = 0;
  lastAttempt: AttemptObservation | undefined = undefined;
  readonly #call: Call<RouteFacts>;
  readonly #protocol: ObservedProtocol;
  readonly #by: readonly Attached[];
  readonly #runtime: Runtime;
  #endedAt = 0;

  constructor(
    id: number,
    call: Call<RouteFacts>,
    protocol: ObservedProtocol,
    by: readonly Attached[],
    runtime: Runtime,
  ) {
    this.id = id;
    this.#call = call;
    this.#protocol = protocol;
    this.#by = by;
    this.#runtime = runtime;
    const { served } = call;
    this.servedFor = served instanceof ServedRequest ? served.observed : undefined;
  }

  get protocol(): string {
    return this.#protocol.name;
  }

  get service(): string {
    return this.#call.service;
  }

  get route(): string {
    return this.#call.route;
  }

  get method(): string {
    return this.#call.request.method;
  }

  get path(): string {
    return this.#call.request.pathname;
  }

  header(name: string): string | undefined {
    return this.#call.request.header(name);
  }

  get startedAt(): number {
    return this.#call.startedAt;
  }

  get deadlineAt(): number {
    return this.#call.deadlineAt;
  }

  get attempts(): number {
    return this.lastAttempt?.number ?? 0;
  }

  get status(): number | undefined {
    const { error, lastAttempt } = this;
    const { statusOf } = this.#protocol;
    if (error !== undefined && statusOf !== undefined) return statusOf(error);
    // An error that is not its attempt's came afterwards, and instead of a reply.
    return error === undefined || error === lastAttempt?.error ? lastAttempt?.status : undefined;
  }

  get notRetried(): NoRetry | undefined {
    return this.#call.noRetry;
  }

  get durationMs(): number {
    return this.#endedAt - this.startedAt;
  }

  // ── told by the pipeline ─────────────────────────────────────────────────────────────────────

  started(): void {
    for (const one of this.#by) one.callStarted(this);
  }

  attemptStarted(attempt: Attempt): void {
    const observed = new AttemptObservation(this, attempt, this.#protocol, this.#by, this.#runtime);
    this.lastAttempt = attempt.observed = observed;
    for (const one of this.#by) one.attemptStarted(observed);
  }

  ended(call: Call, outcome: Outcome, error: MeshError | undefined): void {
    this.outcome = outcome;
    this.error = error;
    // A call whose reply was delivered ended with its attempt: the clock was read for that.
    this.#endedAt = (error === undefined && call.attempt?.endedAt) || this.#runtime.now();
    for (const one of this.#by) one.callEnded(this);
  }
}

class AttemptObservation implements AttemptObserved, StartedAttempt, EndedAttempt {
  readonly call: CallObservation;
  readonly previous: AttemptObservation | undefined;
  outcome: Outcome = "abandoned";
  sentBytes = 0;
  receivedBytes = 0;
  readonly #attempt: Attempt;
  readonly #protocol: ObservedProtocol;
  readonly #by: readonly Attached[];
  readonly #runtime: Runtime;
  #headAt = 0;
  #endedAt = 0;
  #status: number | undefined = undefined;

  constructor(
    call: CallObservation,
    attempt: Attempt,
    protocol: ObservedProtocol,
    by: readonly Attached[],
    runtime: Runtime,
  ) {
    this.call = call;
    this.previous = call.lastAttempt;
    this.#attempt = attempt;
    this.#protocol = protocol;
    this.#by = by;
    this.#runtime = runtime;
  }

  get number(): number {
    return this.#attempt.number;
  }

  get kind(): AttemptKind {
    return this.#attempt.kind;
  }

  get retryReason(): ErrorReason | "status" | undefined {
    const { previous } = this;
    return previous === undefined ? undefined : (previous.error?.reason ?? "status");
  }

  get backend(): string {
    return this.#attempt.cluster!.name;
  }

  get endpoint(): string {
    return this.#attempt.endpoint!.address;
  }

  get zone(): string | undefined {
    return this.#attempt.endpoint!.zone;
  }

  get pickedBy(): PickRule {
    return this.#attempt.rule;
  }

  get why(): string {
    return PICKED_BECAUSE[this.#attempt.rule];
  }

  get startedAt(): number {
    return this.#attempt.startedAt;
  }

  setHeader(name: string, value: string): void {
    this.#attempt.setHeader(name, value);
  }

  get error(): MeshError | undefined {
    return this.#attempt.error;
  }

  get status(): number | undefined {
    const { statusOf } = this.#protocol;
    if (statusOf === undefined) return this.#attempt.code || undefined;
    const { error } = this.#attempt;
    return this.#status ?? (error === undefined ? undefined : statusOf(error));
  }

  set status(status: number | undefined) {
    this.#status = status;
  }

  get progress(): Progress | "replied" {
    if (this.#headAt > 0) return "replied";
    const { error, sentAt } = this.#attempt;
    return error?.progress ?? (sentAt > 0 ? "maybe-processed" : "not-sent");
  }

  get queuedMs(): number | undefined {
    const { sentAt, startedAt } = this.#attempt;
    return sentAt > 0 ? Math.max(0, sentAt - startedAt) : undefined;
  }

  get headMs(): number | undefined {
    return this.#headAt > 0 ? this.#headAt - this.startedAt : undefined;
  }

  get durationMs(): number {
    return this.#endedAt - this.startedAt;
  }

  // ── told by the pipeline ─────────────────────────────────────────────────────────────────────

  answered(): void {
    if (this.#headAt === 0) this.#headAt = this.#runtime.now();
  }

  settled(attempt: Attempt, outcome: Outcome): void {
    this.outcome = outcome;
    this.#endedAt = attempt.endedAt || this.#runtime.now();
    this.call.sentBytes += this.sentBytes;
    this.call.receivedBytes += this.receivedBytes;
    for (const one of this.#by) one.attemptEnded(this);
  }
}
