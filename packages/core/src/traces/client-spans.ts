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
import { inject, isPassedOn } from "./carriers.ts";

const TRACEPARENT = "traceparent";
/** More than a mesh holds services; a name that is not kept is made anew. */
const MAX_KEPT = 1_000;
/** Less is the dispatch itself. */
const QUEUED_MS = 1;

/** A call that is recorded. */
class CallTrace {
  readonly span: Span;
  /** In which its span is active. */
  readonly context: Context;
  /** Who writes the fields of the trace into heads, and makes the CLIENT spans. */
  readonly byOthers: boolean;

  constructor(span: Span, active: Context, byOthers: boolean) {
    this.span = span;
    this.context = active;
    this.byOthers = byOthers;
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

/** What is read of the mesh. */
interface CallingMesh {
  readonly runtime: Runtime;
  readonly configVersion: number;
}

interface Kept {
  readonly name: string;
  readonly options: SpanOptions;
}

export class ClientSpans {
  readonly #tracer: Tracer;
  readonly #mesh: CallingMesh;
  /** Name and options of the span, by service. */
  readonly #kept = new Map<string, Kept>();

  constructor(tracer: Tracer, mesh: CallingMesh) {
    this.#tracer = tracer;
    this.#mesh = mesh;
  }

  started(observed: ObservedCall): void {
    const call = observed as CallObservation;
    const active = context.active();
    const parent = trace.getSpan(active);
    if (parent !== undefined && isDecidedAgainst(parent)) {
      if (this.#isToBeSaid(call, active)) call.traced = new Unrecorded(active, false);
      return;
    }
    const { name, options } = this.#keptOf(call.service);
    const span = this.#tracer.startSpan(name, options, active);
    if (span.isRecording()) {
      const byOthers = call.tracedByOthers || hasOwnTrace(call);
      call.traceId = sampledId(span) ?? call.traceId;
      call.traced = new CallTrace(span, trace.setSpan(active, span), byOthers);
      return;
    }
    // Without an SDK there is nothing to say; nor is there in a context without tracing, as that of an exporter.
    if (span.spanContext().traceId === INVALID_TRACEID) return;
    const byOthers = call.tracedByOthers;
    if (!byOthers && !this.#isToBeSaid(call, active)) return;
    call.traced = new Unrecorded(trace.setSpan(active, span), byOthers);
  }

  attemptStarted(started: StartedAttempt): void {
    const attempt = started as AttemptObservation;
    const { call } = attempt;
    const { traced } = call;
    if (traced instanceof CallTrace) return this.#recorded(attempt, call, traced);
    if (!(traced instanceof Unrecorded)) return;
    const { context: unrecorded, byOthers } = traced;
    if (byOthers) attempt.runIn((send) => context.with(unrecorded, send));
    else inject(unrecorded, attempt);
  }

  #recorded(attempt: AttemptObservation, call: CallObservation, traced: CallTrace): void {
    const { span, context: ofCall, byOthers } = traced;
    this.#eventsBefore(attempt, span);
    span.addEvent(EVENTS.picked, pickedAttributes(attempt));
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
    attempt.traced = own;
    const ofAttempt = trace.setSpan(ofCall, own);
    if (call.toPeer) inject(ofAttempt, attempt);
    attempt.runIn((send) => context.with(ofAttempt, send));
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
      traced.span.addEvent(EVENTS.queued, about, at);
    }
    const own = attempt.traced as Span | undefined;
    if (own === undefined) return;
    const attributes = endedAttemptAttributes(attempt, attempt.call.protocol);
    endSpan(own, attempt.outcome, attempt.error?.message, attributes);
  }

  ended(ended: EndedCall): void {
    const call = ended as CallObservation;
    const { traced, outcome, error, notRetried } = call;
    call.traced = undefined;
    if (!(traced instanceof CallTrace)) return;
    const { span } = traced;
    if (notRetried !== undefined)
      span.addEvent(EVENTS.notRetried, { [NAMES.decision]: notRetried });
    if (error?.code === "overloaded" && call.attempts === 0) {
      span.addEvent(EVENTS.shed, { [NAMES.reason]: error.reason });
    }
    endSpan(span, outcome, error?.message, endedCallAttributes(call, this.#mesh.configVersion));
  }

  /** Whether the head of an attempt has to say that the call is not recorded. */
  #isToBeSaid(call: CallObservation, active: Context): boolean {
    if (!call.toPeer || call.tracedByOthers) return false;
    const written = call.header(TRACEPARENT);
    if (written === undefined) return true;
    return !hasOwnTrace(call) && !(sampledTraceId(written) === undefined && isPassedOn(active));
  }

  #keptOf(service: string): Kept {
    let kept = this.#kept.get(service);
    if (kept === undefined) {
      const attributes = { [NAMES.service]: service };
      kept = { name: `inmesh ${service}`, options: { kind: SpanKind.INTERNAL, attributes } };
      if (this.#kept.size < MAX_KEPT) this.#kept.set(service, kept);
    }
    return kept;
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
