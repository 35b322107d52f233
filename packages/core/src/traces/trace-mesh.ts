/**
 * Spans of a mesh through `@opentelemetry/api`: an observer like any other, with the one freedom that it says where
 * attempts and handlers run, so that its spans are active there.
 */
import { trace } from "@opentelemetry/api";
import type { Observer } from "../observe/observer.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { assertOptions, type OptionKinds } from "../config/options.ts";
import { renderValue } from "../config/mistakes.ts";
import { CALL_SPANS, type CallSpan, ClientSpans } from "./client-spans.ts";
import { ServerSpans } from "./server-spans.ts";

/** What traces use of a mesh. */
export interface TracedMesh {
  observe(observer: Observer): () => void;
  readonly configVersion: number;
  readonly runtime: Runtime;
}

export interface TraceOptions {
  /**
   * Which calls have an INTERNAL span above the CLIENT spans of their attempts. `always`: each call. `retried`: calls of
   * routes that may retry (`retry.attempts` above 1), and those that end without an attempt; the attempt of any other
   * call stands below the application's own span, and where there is none, each is the root of a trace. Halves the spans
   * of services that are not retried. Default `always`.
   */
  readonly callSpan?: CallSpan;
}

const OPTIONS: OptionKinds<TraceOptions> = { callSpan: "any" };

/** A mesh is traced once, however often that is asked for: two would make every span twice. */
const traced = new WeakMap<TracedMesh, () => void>();

/**
 * From now on the calls of `mesh`, their attempts, and the requests that its servers serve are spans of the
 * application's OpenTelemetry (docs/reference/traces.md), as its sampler decides; the propagators that are registered
 * write each attempt's own context into its head. Gives the end of it: what is in progress then gets no span.
 *
 * Needs `@opentelemetry/api` 1.9 or later, and nothing else of OpenTelemetry. The SDK may be registered before or
 * after; without one there are no spans, and what is received is passed on as without this. A second call for the
 * same mesh changes nothing, whatever its options, and gives the same end. Throws a TypeError for options that are wrong. No effect on servers that were made without this mesh.
 */
export function traceMesh(mesh: TracedMesh, options: TraceOptions = {}): () => void {
  assertOptions("traceMesh", options, OPTIONS);
  const { callSpan = "always" } = options;
  if (!CALL_SPANS.includes(callSpan)) {
    const known = CALL_SPANS.join(", ");
    throw new TypeError(
      `traceMesh: callSpan must be one of ${known}, got ${renderValue(callSpan)}`,
    );
  }
  const known = traced.get(mesh);
  if (known !== undefined) return known;
  const tracer = trace.getTracer("inmesh");
  const client = new ClientSpans(tracer, mesh, callSpan);
  const server = new ServerSpans(tracer);
  const stop = mesh.observe({
    callStarted: (call) => client.started(call),
    attemptStarted: (attempt) => client.attemptStarted(attempt),
    attemptEnded: (attempt) => client.attemptEnded(attempt),
    callEnded: (call) => client.ended(call),
    servedStarted: (request) => server.started(request),
    servedEnded: (request) => server.ended(request),
  });
  const end = (): void => {
    stop();
    if (traced.get(mesh) === end) traced.delete(mesh);
  };
  traced.set(mesh, end);
  return end;
}
