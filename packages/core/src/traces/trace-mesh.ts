/**
 * Spans of a mesh through `@opentelemetry/api`: an observer like any other, with the one freedom that it says where
 * attempts and handlers run, so that its spans are active there.
 */
import { trace } from "@opentelemetry/api";
import type { Observer } from "../observe/observer.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { ClientSpans } from "./client-spans.ts";
import { ServerSpans } from "./server-spans.ts";

/** What a Mesh is to its traces. */
export interface TracedMesh {
  observe(observer: Observer): () => void;
  readonly configVersion: number;
  readonly runtime: Runtime;
}

/** A mesh is traced once, however often that is asked for: two would make every span twice. */
const traced = new WeakMap<TracedMesh, () => void>();

/**
 * From now on the calls of `mesh`, their attempts, and the requests that its servers serve are spans of the
 * application's OpenTelemetry (docs/reference/traces.md), as its sampler decides; the propagators that are registered
 * write each attempt's own context into its head. Gives the end of it: what is in progress then gets no span.
 *
 * Needs `@opentelemetry/api` 1.9 or later, and nothing else of OpenTelemetry. The SDK may be registered before or
 * after; without one there are no spans, and what is received is passed on as without this. A second call for the
 * same mesh changes nothing, and gives the same end. No effect on servers that were made without this mesh.
 */
export function traceMesh(mesh: TracedMesh): () => void {
  const known = traced.get(mesh);
  if (known !== undefined) return known;
  const tracer = trace.getTracer("inmesh");
  const client = new ClientSpans(tracer, mesh);
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
