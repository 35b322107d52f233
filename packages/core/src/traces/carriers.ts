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

const W3C: ReadonlySet<string> = new Set(["traceparent", "tracestate", "baggage"]);

/** What the registered propagators would write of a context that is not recorded, without asking them to. */
export class Written {
  /** Undefined: none was registered, so far. */
  #isW3c: boolean | undefined = undefined;

  /** Nothing but a W3C `traceparent`, and a `tracestate` if there is one. */
  isTraceparent(context: Context): boolean {
    return this.#asksW3c() === true && propagation.getBaggage(context) === undefined;
  }

  /** Nothing that is not passed on anyway, as it came. */
  isPassedOn(context: Context): boolean {
    return this.#asksW3c() !== false && propagation.getBaggage(context) === undefined;
  }

  #asksW3c(): boolean | undefined {
    if (this.#isW3c !== undefined) return this.#isW3c;
    const fields = propagation.fields().map((name) => name.toLowerCase());
    if (fields.length === 0) return undefined;
    return (this.#isW3c = fields.includes("traceparent") && fields.every((name) => W3C.has(name)));
  }
}
