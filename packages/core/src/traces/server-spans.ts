/**
 * The span of a request being served: only where no other instrumentation has one, and then active while the handler
 * runs, so that what the handler does is below it. A request whose trace is not recorded runs in its trace all
 * the same, so that nothing below decides anew.
 */
import { context, SpanKind, trace, type Span, type Tracer } from "@opentelemetry/api";
import type { EndedRequest, ObservedRequest } from "../observe/observer.ts";
import type { ServedObservation } from "../observe/served-observation.ts";
import {
  endedServedAttributes,
  endSpan,
  EVENTS,
  NAMES,
  requestName,
  sampledId,
  servedAttributes,
} from "./attributes.ts";
import { extract } from "./carriers.ts";

export class ServerSpans {
  readonly #tracer: Tracer;

  constructor(tracer: Tracer) {
    this.#tracer = tracer;
  }

  started(observed: ObservedRequest): void {
    const request = observed as ServedObservation;
    const active = context.active();
    if (request.tracedByOthers || trace.getSpan(active) !== undefined) return;
    const remote = extract(active, request);
    const options = { kind: SpanKind.SERVER, attributes: servedAttributes(request) };
    const span = this.#tracer.startSpan(requestName(request), options, remote);
    // Without an SDK there is nothing to keep up.
    if (remote === active && !trace.isSpanContextValid(span.spanContext())) return;
    const within = trace.setSpan(remote, span);
    request.runIn((run) => context.with(within, run));
    if (!span.isRecording()) return;
    request.traced = span;
    request.traceId = sampledId(span) ?? request.traceId;
  }

  ended(ended: EndedRequest): void {
    const request = ended as ServedObservation;
    const span = request.traced as Span | undefined;
    if (span === undefined) return;
    request.traced = undefined;
    const { outcome, reason } = request;
    if (outcome === "overloaded" && reason !== undefined) {
      span.addEvent(EVENTS.shed, { [NAMES.reason]: reason });
    }
    endSpan(span, outcome, undefined, endedServedAttributes(request));
  }
}
