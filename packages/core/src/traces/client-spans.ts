/**
 * The spans of a call and of its attempts. The call is INTERNAL, each attempt CLIENT, because what pairs spans
 * takes the SERVER span at the other end for the child of a CLIENT one.
 *
 * Most calls are not recorded. They pay for the question, and for one field of the head that says so to the next
 * hop, which must not decide anew; no span is made for them, and no text for one.
 */
import {
  context,
  INVALID_TRACEID,
  SpanKind,
  trace,
  TraceFlags,
  type Context,
  type Span,
  type SpanOptions,
  type Tracer,
} from "@opentelemetry/api";
import { context as serving } from "../context.ts";
import type { AttemptObservation, CallObservation } from "../observe/call-observation.ts";
import type { EndedAttempt, EndedCall, ObservedCall, StartedAttempt } from "../observe/observer.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { sampledTraceId } from "../traceparent.ts";
import {
  attemptAttributes,
  endedAttemptAttributes,
  endedCallAttributes,
  endSpan,
  EVENTS,
  NAMES,
  pickedAttributes,
  requestName,
  sampledId,
} from "./attributes.ts";
import { inject, Written } from "./carriers.ts";

const TRACEPARENT = "traceparent";
/** Neither sampled nor anything else, as `00` on the wire. */
const NO_FLAGS = 0;
/** More than a mesh holds services; a name that is not kept is made anew. */
const MAX_KEPT = 1_000;
/** A shorter wait is the dispatch itself, and gets no event. */
const QUEUED_MS = 1;

/** A call that is recorded. */
class CallTrace {
  /** Undefined: it has none of its own, and its attempts stand below the application's. */
  readonly span: Span | undefined;
  /** In which its span is active, or the application's. */
  readonly context: Context;
  /** Who writes the fields of the trace into heads, and makes the CLIENT spans. */
  readonly byOthers: boolean;

  constructor(span: Span | undefined, active: Context, byOthers: boolean) {
    this.span = span;
    this.context = active;
    this.byOthers = byOthers;
  }
}

/** A call of which nothing is decided before its route is known, or it ends without an attempt. */
class Undecided {
  /** The context in which the call was made. */
  readonly context: Context;

  constructor(active: Context) {
    this.context = active;
  }
}

/** A call that is not recorded, whose attempts say so, or are sent where others make the spans. */
class Unrecorded {
  readonly context: Context;
  readonly byOthers: boolean;

  constructor(unrecorded: Context, byOthers: boolean) {
    this.context = unrecorded;
    this.byOthers = byOthers;
  }
}

/** Which calls have a span of their own: each, or those whose route lets an attempt be repeated. */
export type CallSpan = "always" | "retried";
export const CALL_SPANS: readonly CallSpan[] = ["always", "retried"];

/** What is read of the mesh. */
interface CallingMesh {
  readonly runtime: Runtime;
  readonly configVersion: number;
}

/** Without attributes, which the SDK would copy for each call that is not recorded. The name has the service. */
const INTERNAL: SpanOptions = { kind: SpanKind.INTERNAL };

export class ClientSpans {
  readonly #tracer: Tracer;
  readonly #mesh: CallingMesh;
  readonly #callSpan: CallSpan;
  readonly #written = new Written();
  /** Of the call's span, by service. */
  readonly #names = new Map<string, string>();

  constructor(tracer: Tracer, mesh: CallingMesh, callSpan: CallSpan) {
    this.#tracer = tracer;
    this.#mesh = mesh;
    this.#callSpan = callSpan;
  }

  started(observed: ObservedCall): void {
    const call = observed as CallObservation;
    const active = context.active();
    const parent = trace.getSpan(active);
    if (parent !== undefined && isDecidedAgainst(parent))
      return this.#unrecorded(call, active, parent);
    if (this.#callSpan === "retried") call.traced = new Undecided(active);
    else this.#begin(call, active, INTERNAL);
  }

  #begin(call: CallObservation, active: Context, options: SpanOptions): void {
    const span = this.#tracer.startSpan(this.#nameOf(call.service), options, active);
    if (span.isRecording()) {
      const hasOwn = hasOwnTrace(call);
      const byOthers = call.tracedByOthers || hasOwn;
      span.setAttribute(NAMES.service, call.service);
      // Exemplars and the tap name the trace that goes out with the call.
      if (!hasOwn) call.traceId = sampledId(span) ?? call.traceId;
      call.traced = new CallTrace(span, trace.setSpan(active, span), byOthers);
      return;
    }
    // Without an SDK there is nothing to say; nor is there in a context without tracing, as that of an exporter.
    if (span.spanContext().traceId === INVALID_TRACEID) call.leave();
    else this.#unrecorded(call, active, span);
  }

  /** Its span begins when it did. */
  #beginLate(call: CallObservation, active: Context): void {
    const { runtime } = this.#mesh;
    const startTime = runtime.wallNow() - (runtime.now() - call.startedAt);
    this.#begin(call, active, { ...INTERNAL, startTime });
  }

  /**
   * The heads of its attempts say that it is not recorded: at once, where that is one field that is the same for all
   * of them, and by the propagators where it is more. Where others make the spans, they are made to follow.
   */
  #unrecorded(call: CallObservation, active: Context, span: Span): void {
    if (call.tracedByOthers) {
      call.traced = new Unrecorded(trace.setSpan(active, span), true);
      return;
    }
    if (this.#isSaid(call, active, span)) call.leave();
    else call.traced = new Unrecorded(trace.setSpan(active, span), false);
  }

  /** The head of the call says all that there is to say to the next hop. */
  #isSaid(call: CallObservation, active: Context, span: Span): boolean {
    if (!call.toPeer) return true;
    const written = call.header(TRACEPARENT);
    if (written !== undefined) {
      if (hasOwnTrace(call)) return true;
      return sampledTraceId(written) === undefined && this.#written.isPassedOn(active);
    }
    if (!this.#written.isTraceparent(active)) return false;
    const { traceId, spanId, traceFlags, traceState } = span.spanContext();
    const isPlain = traceFlags === NO_FLAGS && traceState === undefined;
    return isPlain && call.setTrace(`00-${traceId}-${spanId}-00`);
  }

  attemptStarted(started: StartedAttempt): void {
    const attempt = started as AttemptObservation;
    const { call } = attempt;
    if (call.traced instanceof Undecided) this.#decide(call, call.traced.context);
    const { traced } = call;
    if (traced instanceof CallTrace) this.#recorded(attempt, call, traced);
    else this.#notRecorded(attempt, traced);
  }

  #notRecorded(attempt: AttemptObservation, traced: unknown): void {
    if (!(traced instanceof Unrecorded)) return;
    const { context: unrecorded, byOthers } = traced;
    if (byOthers) attempt.runIn((send) => context.with(unrecorded, send));
    else inject(unrecorded, attempt);
  }

  #decide(call: CallObservation, active: Context): void {
    const byOthers = call.tracedByOthers || hasOwnTrace(call);
    if (call.mayRetry) this.#beginLate(call, active);
    else call.traced = new CallTrace(undefined, active, byOthers);
  }

  #recorded(attempt: AttemptObservation, call: CallObservation, traced: CallTrace): void {
    const { span, context: ofCall, byOthers } = traced;
    if (span !== undefined) {
      this.#eventsBefore(attempt, span);
      span.addEvent(EVENTS.picked, pickedAttributes(attempt));
    }
    if (byOthers) {
      attempt.runIn((send) => context.with(ofCall, send));
      return;
    }
    const attributes = attemptAttributes(attempt, call);
    const own = this.#tracer.startSpan(
      requestName(call),
      { kind: SpanKind.CLIENT, attributes },
      ofCall,
    );
    if (span === undefined) {
      if (!own.isRecording()) return this.#alone(attempt, call, ofCall, own);
      call.traceId = sampledId(own) ?? call.traceId;
    }
    attempt.traced = own;
    const ofAttempt = trace.setSpan(ofCall, own);
    if (call.toPeer) inject(ofAttempt, attempt);
    attempt.runIn((send) => context.with(ofAttempt, send));
  }

  /** Of a call without a span, an attempt that is not recorded: then none of the call is. */
  #alone(attempt: AttemptObservation, call: CallObservation, active: Context, own: Span): void {
    call.traced = undefined;
    if (own.spanContext().traceId === INVALID_TRACEID) return;
    this.#unrecorded(call, active, own);
    this.#notRecorded(attempt, call.traced);
  }

  /** What led to this attempt. */
  #eventsBefore(attempt: AttemptObservation, span: Span): void {
    const { kind, number, previous, retryReason } = attempt;
    if (kind === "hedge") span.addEvent(EVENTS.hedge, { [NAMES.attemptNumber]: number });
    if (kind !== "retry" && kind !== "resend") return;
    const endedAt = (previous?.startedAt ?? 0) + (previous?.durationMs ?? 0);
    span.addEvent(EVENTS.retry, {
      [NAMES.attemptNumber]: number,
      [NAMES.attemptKind]: kind,
      [NAMES.reason]: retryReason ?? "status",
      [NAMES.pauseMs]: Math.max(0, attempt.startedAt - endedAt),
    });
  }

  attemptEnded(ended: EndedAttempt): void {
    const attempt = ended as AttemptObservation;
    const { traced } = attempt.call;
    if (!(traced instanceof CallTrace)) return;
    const { queuedMs = 0, number } = attempt;
    if (queuedMs >= QUEUED_MS) {
      const { runtime } = this.#mesh;
      const at = runtime.wallNow() - (runtime.now() - attempt.startedAt);
      const about = { [NAMES.attemptNumber]: number, [NAMES.queuedMs]: queuedMs };
      traced.span?.addEvent(EVENTS.queued, about, at);
    }
    const own = attempt.traced as Span | undefined;
    if (own === undefined) return;
    const attributes = endedAttemptAttributes(attempt, attempt.call.protocol);
    endSpan(own, attempt.outcome, attempt.error?.message, attributes);
  }

  ended(ended: EndedCall): void {
    const call = ended as CallObservation;
    if (call.traced instanceof Undecided) this.#beginLate(call, call.traced.context);
    const { traced, outcome, error, notRetried } = call;
    call.traced = undefined;
    if (!(traced instanceof CallTrace) || traced.span === undefined) return;
    const { span } = traced;
    if (notRetried !== undefined)
      span.addEvent(EVENTS.notRetried, { [NAMES.decision]: notRetried });
    if (error?.code === "overloaded" && call.attempts === 0) {
      span.addEvent(EVENTS.shed, { [NAMES.reason]: error.reason });
    }
    endSpan(span, outcome, error?.message, endedCallAttributes(call, this.#mesh.configVersion));
  }

  #nameOf(service: string): string {
    let name = this.#names.get(service);
    if (name === undefined) {
      name = `inmesh ${service}`;
      if (this.#names.size < MAX_KEPT) this.#names.set(service, name);
    }
    return name;
  }
}

/**
 * This process has decided that the trace is not recorded: samplers follow their parent, and what is below is not
 * asked again. A parent of another process has not been decided about here.
 */
function isDecidedAgainst(parent: Span): boolean {
  if (parent.isRecording()) return false;
  const { traceFlags, traceId, isRemote } = parent.spanContext();
  return (
    (traceFlags & TraceFlags.SAMPLED) === 0 && isRemote !== true && traceId !== INVALID_TRACEID
  );
}

/**
 * The caller, or an instrumentation above the mesh, has written the field of a trace: then the attempts get no other
 * one. What was only passed on from the request being served is no such field.
 */
function hasOwnTrace(call: ObservedCall): boolean {
  const written = call.header(TRACEPARENT);
  return written !== undefined && written !== serving.getStore()?.traceparent;
}
