/** The SDK of OpenTelemetry as an application registers it, with an exporter that a test reads. */
import { context, propagation, trace, type TextMapPropagator } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import {
  CompositePropagator,
  W3CBaggagePropagator,
  W3CTraceContextPropagator,
} from "@opentelemetry/core";
import {
  AlwaysOnSampler,
  InMemorySpanExporter,
  ParentBasedSampler,
  type ReadableSpan,
  type Sampler,
  SimpleSpanProcessor,
  type SpanProcessor,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import { onTestFinished } from "vitest";

export interface Recorded {
  /** All that have ended, in the order of their ends. */
  readonly spans: () => ReadableSpan[];
  readonly reset: () => void;
}

interface Setting {
  /** Of roots. Default: all. */
  readonly root?: Sampler;
  /** In the place of the one that asks the parent first. */
  readonly sampler?: Sampler;
  readonly propagators?: readonly TextMapPropagator[];
  readonly processors?: readonly SpanProcessor[];
}

/** Registers everything globally until the test is over. */
export function recordSpans(setting: Setting = {}): Recorded {
  const exporter = new InMemorySpanExporter();
  const { root = new AlwaysOnSampler(), propagators, processors = [] } = setting;
  const provider = new TracerProvider({
    sampler: setting.sampler ?? new ParentBasedSampler({ root }),
    spanProcessors: [new SimpleSpanProcessor({ exporter }), ...processors],
  });
  trace.setGlobalTracerProvider(provider);
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(
    new CompositePropagator({
      propagators: [
        ...(propagators ?? [new W3CTraceContextPropagator(), new W3CBaggagePropagator()]),
      ],
    }),
  );
  onTestFinished(async () => {
    trace.disable();
    context.disable();
    propagation.disable();
    await provider.shutdown();
  });
  return { spans: () => exporter.getFinishedSpans(), reset: () => exporter.reset() };
}

export const named = (spans: readonly ReadableSpan[], name: string): ReadableSpan[] =>
  spans.filter((span) => span.name === name);

/** As `traceparent` says it. */
export function traceparentOf(span: ReadableSpan): string {
  const { traceId, spanId } = span.spanContext();
  return `00-${traceId}-${spanId}-01`;
}
