/**
 * A call and its attempts as observers see them: one object for each, which the pipeline notifies of what
 * happens and which reads the rest off the call when it is asked. They exist only for calls that began
 * while observers were attached, and notify those observers alone.
 */
import { PICKED_BECAUSE } from "../balance/why.ts";
import type {
  Attempt,
  AttemptKind,
  AttemptObserved,
  Call,
  CallObserved,
  DeadlineSource,
  Outcome,
  PickRule,
} from "../call.ts";
import { ServedRequest } from "../context.ts";
import type { ErrorReason, MeshError, NoRetry, Progress } from "../errors.ts";
import type { HeadFacts, HeadField } from "../route/facts.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Attached } from "./attached.ts";
import type { EndedAttempt, EndedCall, ObservedRequest, StartedAttempt } from "./observer.ts";

/** What an observation has to know of the protocol of its call. */
export interface ObservedProtocol {
  readonly name: string;
  /** The status that a caller sees for a failure of the mesh's own; undefined: it sees the error itself. */
  readonly statusOf?: ((error: MeshError) => number) | undefined;
}

/** What all observations of one list of observers have in common: they are made on the path of a call. */
export class Audience {
  readonly by: readonly Attached[];
  readonly protocol: ObservedProtocol;
  readonly runtime: Runtime;

  constructor(by: readonly Attached[], protocol: ObservedProtocol, runtime: Runtime) {
    this.by = by;
    this.protocol = protocol;
    this.runtime = runtime;
  }
}

export class CallObservation implements CallObserved, EndedCall {
  readonly id: number;
  outcome: Outcome = "abandoned";
  error: MeshError | undefined = undefined;
  sentBytes = 0;
  receivedBytes = 0;
  lastAttempt: AttemptObservation | undefined = undefined;
  readonly #call: Call<HeadFacts>;
  readonly #audience: Audience;
  #endedAt = 0;

  constructor(id: number, call: Call<HeadFacts>, audience: Audience) {
    this.id = id;
    this.#call = call;
    this.#audience = audience;
  }

  get protocol(): string {
    return this.#audience.protocol.name;
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

  get query(): string {
    return this.#call.request.queryText;
  }

  header(name: string): string | undefined {
    return this.#call.request.header(name);
  }

  fields(): HeadField[] {
    return this.#call.request.fields();
  }

  get startedAt(): number {
    return this.#call.startedAt;
  }

  get deadlineAt(): number {
    return this.#call.deadlineAt;
  }

  get deadlineFrom(): DeadlineSource | undefined {
    return this.deadlineAt === Infinity ? undefined : this.#call.deadlineFrom;
  }

  get attempts(): number {
    return this.lastAttempt?.number ?? 0;
  }

  get servedFor(): ObservedRequest | undefined {
    const { served } = this.#call;
    return served instanceof ServedRequest ? served.observed : undefined;
  }

  get status(): number | undefined {
    const { error } = this;
    const answering = this.#answering;
    const { statusOf } = this.#audience.protocol;
    if (error !== undefined && statusOf !== undefined) return statusOf(error);
    // An error that is not its attempt's came afterwards, and instead of a reply.
    return error === undefined || error === answering?.error ? answering?.status : undefined;
  }

  /** Of attempts side by side the one that was chosen, which need not be the last. */
  get #answering(): AttemptObservation | undefined {
    const chosen = this.#call.attempt?.observed;
    for (let one = this.lastAttempt; one !== undefined; one = one.previous) {
      if (one === chosen) return one;
    }
    return this.lastAttempt;
  }

  get notRetried(): NoRetry | undefined {
    return this.#call.noRetry;
  }

  get durationMs(): number {
    return this.#endedAt - this.startedAt;
  }

  // ── called by the pipeline ─────────────────────────────────────────────────────────────────────

  started(): void {
    const { by } = this.#audience;
    for (let i = 0; i < by.length; i++) by[i]!.callStarted(this);
  }

  attemptStarted(attempt: Attempt): void {
    const observed = new AttemptObservation(this, this.lastAttempt, attempt, this.#audience);
    this.lastAttempt = attempt.observed = observed;
    const { by } = this.#audience;
    for (let i = 0; i < by.length; i++) by[i]!.attemptStarted(observed);
  }

  ended(call: Call, outcome: Outcome, error: MeshError | undefined): void {
    const { by, runtime } = this.#audience;
    this.outcome = outcome;
    this.error = error;
    // A call whose reply was delivered ended with its attempt: the clock was read for that.
    this.#endedAt = (error === undefined && call.attempt?.endedAt) || runtime.now();
    for (let i = 0; i < by.length; i++) by[i]!.callEnded(this);
  }
}

class AttemptObservation implements AttemptObserved, StartedAttempt, EndedAttempt {
  readonly call: CallObservation;
  readonly previous: AttemptObservation | undefined;
  sentBytes = 0;
  receivedBytes = 0;
  readonly #attempt: Attempt;
  readonly #audience: Audience;
  #headAt = 0;
  #status: number | undefined = undefined;

  constructor(
    call: CallObservation,
    previous: AttemptObservation | undefined,
    attempt: Attempt,
    audience: Audience,
  ) {
    this.call = call;
    this.previous = previous;
    this.#attempt = attempt;
    this.#audience = audience;
  }

  get number(): number {
    return this.#attempt.number;
  }

  get kind(): AttemptKind {
    return this.#attempt.kind;
  }

  get retryReason(): ErrorReason | "status" | undefined {
    const { previous, kind } = this;
    return previous === undefined || kind === "hedge"
      ? undefined
      : (previous.error?.reason ?? "status");
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

  header(name: string): string | undefined {
    return this.#attempt.headers?.get(name) ?? this.call.header(name);
  }

  setHeader(name: string, value: string): void {
    this.#attempt.setHeader(name, value);
  }

  /** In `attemptEnded` it is there. */
  get outcome(): Outcome {
    return this.#attempt.outcome ?? "abandoned";
  }

  get error(): MeshError | undefined {
    return this.#attempt.error;
  }

  get status(): number | undefined {
    const { statusOf } = this.#audience.protocol;
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
    // Where a layer of the application does not let a cancellation through, its call may end before it.
    const endedAt = this.#attempt.endedAt || this.#audience.runtime.now();
    return endedAt - this.startedAt;
  }

  // ── called by the pipeline ─────────────────────────────────────────────────────────────────────

  answered(): void {
    if (this.#headAt === 0) this.#headAt = this.#audience.runtime.now();
  }

  settled(): void {
    this.call.sentBytes += this.sentBytes;
    this.call.receivedBytes += this.receivedBytes;
    const { by } = this.#audience;
    for (let i = 0; i < by.length; i++) by[i]!.attemptEnded(this);
  }
}
