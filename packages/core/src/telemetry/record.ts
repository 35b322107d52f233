/**
 * The records of calls and attempts. The call record is the outermost layer: it counts every call
 * once, also those refused below it, and it is the only place where a call ends. Counters for
 * results not seen before are bound when they first occur, and found by a number afterwards.
 */
import {
  endWith,
  type Attempt,
  type AttemptKind,
  type AttemptListener,
  type Call,
  type CallEnds,
  type CallRecorder,
  type Outcome,
  type Reply,
} from "../call.ts";
import { MeshError, placed, placedRefusal } from "../errors.ts";
import type { Handler, Layer } from "../handler.ts";
import type { ActiveCalls } from "../active-calls.ts";
import type { RetryDecision, RetryRecorder } from "../retry/retry.ts";
import type { HeadFacts } from "../route/facts.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { SHED } from "./endpoint-instruments.ts";
import {
  ATTEMPTS,
  ATTEMPT_DURATION,
  CALLS,
  CALL_DURATION,
  RETRY_DECISIONS,
} from "./instruments.ts";
import type { StandardSeries } from "./standard.ts";
import type { Counter, Histogram, Labels, Telemetry } from "./telemetry.ts";

const OUTCOMES: readonly Outcome[] = ["success", "failure", "timeout", "overloaded", "abandoned"];

function outcomeIndex(outcome: Outcome): number {
  switch (outcome) {
    case "success":
      return 0;
    case "failure":
      return 1;
    case "timeout":
      return 2;
    case "overloaded":
      return 3;
    case "abandoned":
      return 4;
  }
}

/** HTTP-like codes as their class; a protocol without a code gives 0. */
function statusOf(code: number): string {
  return code >= 100 && code < 600 ? `${Math.floor(code / 100)}xx` : "none";
}

/** Counter and histogram per outcome, status class and reason, bound when first needed. */
class Results {
  readonly #plain: (Counter | undefined)[] = [];
  readonly #byReason = new Map<string, Counter>();
  readonly #durations: (Histogram | undefined)[] = [];
  readonly #telemetry: Telemetry;
  readonly #count: typeof CALLS;
  readonly #duration: typeof CALL_DURATION;
  readonly #labels: Labels;

  constructor(
    telemetry: Telemetry,
    count: typeof CALLS,
    duration: typeof CALL_DURATION,
    labels: Labels,
  ) {
    this.#telemetry = telemetry;
    this.#count = count;
    this.#duration = duration;
    this.#labels = labels;
  }

  /** `traceId`: of the sampled trace that it belongs to. */
  record(
    outcome: Outcome,
    code: number,
    reason: string | undefined,
    elapsedMs: number,
    traceId: string | undefined,
  ): void {
    const o = outcomeIndex(outcome);
    if (reason === undefined) {
      const i = o * 8 + (code >= 100 && code < 600 ? Math.floor(code / 100) : 0);
      (this.#plain[i] ??= this.#bind(outcome, code, "none")).add(1, traceId);
    } else {
      const key = `${o}|${reason}`;
      let counter = this.#byReason.get(key);
      if (counter === undefined) {
        counter = this.#bind(outcome, 0, reason);
        this.#byReason.set(key, counter);
      }
      counter.add(1, traceId);
    }
    (this.#durations[o] ??= this.#telemetry.histogram(this.#duration, {
      ...this.#labels,
      outcome: OUTCOMES[o]!,
    })).record(elapsedMs / 1000, traceId);
  }

  #bind(outcome: Outcome, code: number, reason: string): Counter {
    return this.#telemetry.counter(this.#count, {
      ...this.#labels,
      outcome,
      status: statusOf(code),
      reason,
    });
  }
}

/** What calls and attempts of a route have under OpenTelemetry's names; undefined: nothing. */
export interface StandardRecords {
  readonly attempts?: StandardSeries<Attempt> | undefined;
  readonly calls?: StandardSeries<Call> | undefined;
}

/** Where nothing is measured: calls in progress are known all the same. */
export class NoRecord implements CallRecorder, RetryRecorder {
  readonly #active: ActiveCalls;

  constructor(active: ActiveCalls) {
    this.#active = active;
  }

  ended(call: Call): void {
    this.#active.remove(call);
  }

  decided(): void {}
}

/** One per route: the records of its calls and attempts, and of the decisions between them. */
export class RouteRecord implements CallRecorder, AttemptListener, RetryRecorder {
  readonly #runtime: Runtime;
  readonly #calls: Results;
  readonly #attempts: Record<AttemptKind, Results>;
  readonly #decisions = new Map<string, Counter>();
  readonly #shedding = new Map<string, Counter>();
  readonly #telemetry: Telemetry;
  readonly #labels: Labels;
  readonly #active: ActiveCalls;
  readonly #standard: StandardRecords;

  constructor(
    telemetry: Telemetry,
    labels: Labels,
    active: ActiveCalls,
    runtime: Runtime,
    standard: StandardRecords = {},
  ) {
    this.#standard = standard;
    this.#runtime = runtime;
    this.#telemetry = telemetry;
    this.#labels = labels;
    this.#active = active;
    const outbound = { ...labels, direction: "outbound" };
    this.#calls = new Results(telemetry, CALLS, CALL_DURATION, outbound);
    const attempts = (kind: AttemptKind): Results =>
      new Results(telemetry, ATTEMPTS, ATTEMPT_DURATION, { ...labels, kind });
    this.#attempts = {
      first: attempts("first"),
      retry: attempts("retry"),
      resend: attempts("resend"),
      hedge: attempts("hedge"),
    };
  }

  ended(call: Call, outcome: Outcome, error: MeshError | undefined): void {
    this.#active.remove(call);
    const { attempt } = call;
    // A call whose reply was delivered ended with its attempt: the clock was read for that.
    if (error?.code === "overloaded") this.#shed(error.reason);
    const endedAt = (error === undefined && attempt?.endedAt) || this.#runtime.now();
    const elapsedMs = endedAt - call.startedAt;
    const { traceId } = call;
    const reason = error?.reason;
    this.#calls.record(outcome, attempt?.code ?? 0, reason, elapsedMs, traceId);
    this.#standard.calls?.recordOnce(call, error, reason, elapsedMs, traceId);
  }

  /** This process itself has refused it. */
  #shed(reason: string): void {
    let counter = this.#shedding.get(reason);
    if (counter === undefined) {
      const { service, protocol } = this.#labels as Record<"service" | "protocol", string>;
      const labels = { direction: "outbound", service, protocol, reason };
      counter = this.#telemetry.counter(SHED, labels);
      this.#shedding.set(reason, counter);
    }
    counter.add(1);
  }

  settled(attempt: Attempt, outcome: Outcome): void {
    const elapsedMs = (attempt.endedAt || this.#runtime.now()) - attempt.startedAt;
    const { error, code, kind } = attempt;
    const { traceId } = attempt.call;
    this.#attempts[kind].record(outcome, code, error?.reason, elapsedMs, traceId);
    this.#standard.attempts?.recordOnce(attempt, error, error?.reason, elapsedMs, traceId);
  }

  decided(decision: RetryDecision, kind: AttemptKind): void {
    const key = `${decision}|${kind}`;
    let counter = this.#decisions.get(key);
    if (counter === undefined) {
      counter = this.#telemetry.counter(RETRY_DECISIONS, { ...this.#labels, decision, kind });
      this.#decisions.set(key, counter);
    }
    counter.add(1);
  }
}

/** One per method of a server: the records of the calls it was asked for. */
export class ServedRecord {
  readonly #results: Results;

  /** `labels`: service, route and protocol. */
  constructor(telemetry: Telemetry, labels: Labels) {
    const inbound = { ...labels, direction: "inbound" };
    this.#results = new Results(telemetry, CALLS, CALL_DURATION, inbound);
  }

  /** `code` is HTTP-like; `reason` says why the call did not reach its handler, or was cut short. */
  ended(
    outcome: Outcome,
    code: number,
    reason: string | undefined,
    elapsedMs: number,
    traceId: string | undefined,
  ): void {
    this.#results.record(outcome, code, reason, elapsedMs, traceId);
  }
}

/** What a record needs of the observers of its mesh, which are given the service too. */
export interface CallObservers<S> {
  /** Undefined: there are none. */
  readonly attached: unknown;
  callStarted(call: Call<HeadFacts>, service: S): void;
}

/**
 * The outermost layer. `record` serves calls that end before a route is known. `endsBelow`: retry ends
 * the calls that come so far as to it (`callEnds`), and only what is thrown on the way there ends here.
 */
export function callRecord<Req extends HeadFacts, R extends Reply, S>(
  record: CallRecorder,
  active: ActiveCalls,
  runtime: Runtime,
  endsBelow: boolean,
  observers: CallObservers<S>,
  service: S,
): Layer<Call<Req>, R> {
  // Its work is the same for every call, so nothing but the two callbacks is made for one.
  return (inner: Handler<Call<Req>, R>) =>
    (call: Call<Req>): Promise<R> => {
      if (call.startedAt === 0) call.startedAt = runtime.now();
      call.recorder = record;
      active.add(call);
      if (observers.attached !== undefined) observers.callStarted(call, service);
      let sent: Promise<R>;
      try {
        if (call.cancelled !== undefined) throw call.cancelled; // before it began
        sent = inner(call);
      } catch (error) {
        return Promise.reject(placedRefusal(callEnds.failed(call, error)));
      }
      return endsBelow ? sent : endWith(call, sent, endsHere);
    };
}

/** How a call ends once the application has what it asked for. */
export const callEnds: CallEnds = {
  /** The call is over when its reply's last byte is, which a short reply has already seen. */
  delivered(call: Call): void {
    const { attempt } = call;
    // A layer of the application has answered in the place of an endpoint.
    if (attempt === undefined) call.end("success", undefined);
    else if (attempt.outcome === undefined) attempt.delivered = true;
    else call.end(attempt.outcome, attempt.error);
  },

  failed(call: Call, error: unknown): unknown {
    call.end(outcomeOf(error), error instanceof MeshError ? error : undefined);
    return error;
  },
};

/** The same at the promise that the caller has: its error gets the line that waits for it. */
const endsHere: CallEnds = {
  delivered: (call) => callEnds.delivered(call),
  failed: (call, error) => placed(callEnds.failed(call, error)),
};

/** One record per try, with the kind of it. */
export function attemptRecord<Req, R extends Reply>(record: RouteRecord): Layer<Attempt<Req>, R> {
  return (inner) => (attempt) => {
    attempt.recorder = record;
    return inner(attempt);
  };
}

function outcomeOf(error: unknown): Outcome {
  if (!(error instanceof MeshError)) return "failure";
  switch (error.code) {
    case "deadline_exceeded":
      return "timeout";
    case "cancelled":
      return "abandoned";
    case "overloaded":
      return "overloaded";
    default:
      return "failure";
  }
}
