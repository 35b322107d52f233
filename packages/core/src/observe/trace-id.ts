/** The id of the trace that a call or a request belongs to, of what it sent or came with. */
import type { EndedCall, EndedRequest } from "./observer.ts";
import { isTraceparent } from "../traceparent.ts";

export function traceIdOf(ended: EndedCall | EndedRequest): string | undefined {
  const text = "peer" in ended ? ended.traceparent : sentBy(ended);
  return text !== undefined && isTraceparent(text) ? text.slice(3, 35) : undefined;
}

/** A tracer gives each attempt a `traceparent` of its own, of the same trace. */
function sentBy(call: EndedCall): string | undefined {
  return call.lastAttempt?.header("traceparent") ?? call.header("traceparent");
}
