/** The SDK of OpenTelemetry as a service runs it: one root in a hundred is recorded, and exported in batches. */
import { context, propagation, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import {
  CompositePropagator,
  W3CBaggagePropagator,
  W3CTraceContextPropagator,
} from "@opentelemetry/core";
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from "@opentelemetry/sdk-trace";

const SAMPLED = 0.01;

export interface Exported {
  /** Spans that went out so far. */
  count: number;
  flush(): Promise<void>;
}

export function traceSampled(): Exported {
  const exporter: ConstructorParameters<typeof BatchSpanProcessor>[0]["exporter"] = {
    export(spans, done) {
      exported.count += spans.length;
      done({ code: 0 });
    },
    shutdown: () => Promise.resolve(),
  };
  // Benchmarks make in a second what a service makes in minutes.
  const batch = new BatchSpanProcessor({ exporter, maxQueueSize: 1_000_000 });
  const exported: Exported = { count: 0, flush: () => batch.forceFlush() };
  trace.setGlobalTracerProvider(
    new TracerProvider({
      sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(SAMPLED) }),
      spanProcessors: [batch],
    }),
  );
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(
    new CompositePropagator({
      propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()],
    }),
  );
  return exported;
}
