/**
 * How the propagators that the application has registered (W3C, B3, baggage) write into an attempt and read a
 * request. Which fields there are is theirs to say; we know none of their names.
 */
import {
  propagation,
  type Context,
  type TextMapGetter,
  type TextMapSetter,
} from "@opentelemetry/api";
import type { ObservedRequest, StartedAttempt } from "../observe/observer.ts";

const SETTER: TextMapSetter<StartedAttempt> = {
  set(attempt, name, value) {
    try {
      attempt.setHeader(name, value);
    } catch {
      // Baggage can be larger than what an attempt takes: it goes without, and with the rest.
    }
  },
};

const GETTER: TextMapGetter<ObservedRequest> = {
  get: (request, name) => request.header(name.toLowerCase()),
  // Only propagators that look for names with a prefix ask for them.
  keys: () => [],
};

export function inject(context: Context, attempt: StartedAttempt): void {
  propagation.inject(context, attempt, SETTER);
}

export function extract(context: Context, request: ObservedRequest): Context {
  return propagation.extract(context, request, GETTER);
}

/** What core passes on by itself, or only says who sent what it passes on. */
const W3C: ReadonlySet<string> = new Set(["traceparent", "tracestate", "baggage"]);
let onlyW3c: boolean | undefined;

/**
 * What was received and is passed on as it came says all that the propagators would say of this context: for
 * what is not recorded nothing has to be written.
 */
export function isPassedOn(context: Context): boolean {
  if (propagation.getBaggage(context) !== undefined) return false;
  if (onlyW3c === undefined) {
    const fields = propagation.fields();
    if (fields.length === 0) return true; // none is registered, so far
    onlyW3c = fields.every((name) => W3C.has(name.toLowerCase()));
  }
  return onlyW3c;
}
