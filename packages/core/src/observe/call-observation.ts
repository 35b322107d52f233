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
  Within,
} from "../call.ts";
import type { BreakerState } from "../breaker/breaker.ts";
import type { ServiceConfig } from "../config/types.ts";
import { ServedRequest } from "../context.ts";
import type { ErrorReason, MeshError, NoRetry, Progress } from "../errors.ts";
import type { HeadFacts, HeadField, RoutedRequest } from "../route/facts.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { ServerPeer } from "../tls/peer.ts";
import { checkedTraceId } from "../traceparent.ts";
import type { Attached } from "./attached.ts";
import type { EndedAttempt, EndedCall, ObservedRequest, StartedAttempt } from "./observer.ts";

/** What an observation has to know of the protocol of its call. */
export interface ObservedProtocol {
  readonly name: string;
  /** The status that a caller sees for a failure of the mesh's own; undefined: it sees the error itself. */
  readonly statusOf?: ((error: MeshError) => number) | undefined;
  /** Another instrumentation makes a span for each of its attempts, and writes it into their heads. */
  readonly tracedByOthers?: ((request: never, service: ServiceConfig) => boolean) | undefined;
}

/** Whose calls are observed: one for each pipeline. */
export interface ObservedService {
  readonly protocol: ObservedProtocol;
  readonly config: ServiceConfig;
  /** Who hears of them; serves until the list of observers is another. Writer: Observers. */
  audience: Audience | undefined;
}

/** What all observations of one service for one list of observers have in common: they are made on the path of a call. */
export class Audience {
  readonly by: readonly Attached[];
  readonly protocol: ObservedProtocol;
  readonly config: ServiceConfig;
  readonly runtime: Runtime;

  constructor(by: readonly Attached[], { protocol, config }: ObservedService, runtime: Runtime) {
    this.by = by;
    this.protocol = protocol;
    this.config = config;
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
  /** What the traces of its mesh keep of it: a field, because a WeakMap costs more than the rest. Writer: traces. */
  traced: unknown = undefined;
  readonly #call: Call<HeadFacts>;
  readonly audience: Audience;
  #endedAt = 0;

  constructor(id: number, call: Call<HeadFacts>, audience: Audience) {
    this.id = id;
    this.#call = call;
    this.audience = audience;
  }

  get protocol(): string {
    return this.audience.protocol.name;
  }

  get service(): string {
    return this.#call.service;
  }

  get scheme(): "http" | "https" {
    return this.audience.config.scheme;
  }

  get authority(): string {
    return this.audience.config.authority;
  }

  /** A `traceparent` for all attempts of a call that has none, before the first; false: the request takes none. */
  setTrace(traceparent: string): boolean {
    const request: Partial<RoutedRequest> = this.#call.request;
    if (request.setTrace === undefined) return false;
    request.setTrace(traceparent);
    return true;
  }

  /** The service is one of ours: what belongs to the request being served may be sent to it. */
  get toPeer(): boolean {
    return this.audience.config.peer;
  }

  /** For an observer that needs no more of it: where it is the only one, what follows is not observed. */
  leave(): void {
    if (this.audience.by.length === 1) this.#call.observed = undefined;
  }

  get tracedByOthers(): boolean {
    const { protocol, config } = this.audience;
    return protocol.tracedByOthers?.(this.#call.request as never, config) === true;
  }

  get route(): string {
    return this.#call.route;
  }

  /** Its route lets an attempt be repeated. Once an attempt has begun: before, the route is not known. */
  get mayRetry(): boolean {
    const { routes, retry } = this.audience.config;
    const found = routes.find(({ name }) => name === this.route);
    return (found?.retry ?? retry).attempts > 1;
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

  get traceId(): string | undefined {
    return this.#call.traceId;
  }

  set traceId(traceId: string | undefined) {
    this.#call.traceId = checkedTraceId(traceId);
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
    const answering = answeringOf(this.#call, this.lastAttempt);
    const { statusOf } = this.audience.protocol;
    if (error !== undefined && statusOf !== undefined) return statusOf(error);
    // An error that is not its attempt's came afterwards, and instead of a reply.
    return error === undefined || error === answering?.error ? answering?.status : undefined;
  }

  get notRetried(): NoRetry | undefined {
    return this.#call.noRetry;
  }

  get durationMs(): number {
    return this.#endedAt - this.startedAt;
  }

  // ── called by the pipeline ─────────────────────────────────────────────────────────────────────

  started(): void {
    const { by } = this.audience;
    for (let i = 0; i < by.length; i++) by[i]!.callStarted(this);
  }

  attemptStarted(attempt: Attempt): void {
    const observed = new AttemptObservation(this, this.lastAttempt, attempt);
    this.lastAttempt = attempt.observed = observed;
    const { by } = this.audience;
    for (let i = 0; i < by.length; i++) by[i]!.attemptStarted(observed);
  }

  ended(call: Call, outcome: Outcome, error: MeshError | undefined): void {
    const { by, runtime } = this.audience;
    this.outcome = outcome;
    this.error = error;
    // A call whose reply was delivered ended with its attempt: the clock was read for that.
    this.#endedAt = (error === undefined && call.attempt?.endedAt) || runtime.now();
    for (let i = 0; i < by.length; i++) by[i]!.callEnded(this);
  }
}

export class AttemptObservation implements AttemptObserved, StartedAttempt, EndedAttempt {
  readonly call: CallObservation;
  readonly previous: AttemptObservation | undefined;
  connection: { readonly peer: ServerPeer } | undefined = undefined;
  sentBytes = 0;
  receivedBytes = 0;
  /** As with a call. */
  traced: unknown = undefined;
  readonly #attempt: Attempt;
  /** When the head of its reply was here; 0: at its end. Undefined: there was none. */
  #headAt: number | undefined = undefined;

  constructor(call: CallObservation, previous: AttemptObservation | undefined, attempt: Attempt) {
    this.call = call;
    this.previous = previous;
    this.#attempt = attempt;
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

  get connectionReused(): boolean | undefined {
    return this.#attempt.connectionReused;
  }

  get peer(): ServerPeer | undefined {
    return this.connection?.peer;
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

  get cost(): number {
    return this.#attempt.cluster!.costOf(this.#attempt.endpoint!);
  }

  get breaker(): BreakerState {
    return this.#attempt.endpoint!.breaker.state;
  }

  get startedAt(): number {
    return this.#attempt.startedAt;
  }

  /** It is sent inside `within`. Before it is sent. */
  runIn(within: Within): void {
    this.#attempt.within = within;
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
    const { statusOf } = this.call.audience.protocol;
    if (statusOf === undefined) return this.#attempt.code || undefined;
    const { error, status } = this.#attempt;
    return status ?? (error === undefined ? undefined : statusOf(error));
  }

  get progress(): Progress | "replied" {
    if (this.#headAt !== undefined) return "replied";
    const { error, sentAt } = this.#attempt;
    return error?.progress ?? (sentAt > 0 ? "maybe-processed" : "not-sent");
  }

  get queuedMs(): number | undefined {
    const { sentAt, startedAt } = this.#attempt;
    return sentAt > 0 ? Math.max(0, sentAt - startedAt) : undefined;
  }

  get headMs(): number | undefined {
    const headAt = this.#headAt;
    if (headAt === undefined) return undefined;
    return headAt === 0 ? this.durationMs : headAt - this.startedAt;
  }

  get durationMs(): number {
    // Where a layer of the application does not let a cancellation through, its call may end before it.
    const endedAt = this.#attempt.endedAt || this.call.audience.runtime.now();
    return endedAt - this.startedAt;
  }

  // ── called by the pipeline ─────────────────────────────────────────────────────────────────────

  answered(at: number): void {
    this.#headAt ??= at;
  }

  settled(): void {
    this.call.sentBytes += this.sentBytes;
    this.call.receivedBytes += this.receivedBytes;
    const { by } = this.call.audience;
    for (let i = 0; i < by.length; i++) by[i]!.attemptEnded(this);
  }
}

/** Of attempts side by side the one that was chosen, which need not be the last. */
function answeringOf(
  call: Call<HeadFacts>,
  last: AttemptObservation | undefined,
): AttemptObservation | undefined {
  const chosen = call.attempt?.observed;
  for (let one = last; one !== undefined; one = one.previous) {
    if (one === chosen) return one;
  }
  return last;
}
