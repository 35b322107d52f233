/**
 * The series of a mesh for a reader of OpenTelemetry: a MetricProducer, which stands beside what the SDK counts
 * itself. Nothing of OpenTelemetry is loaded or needed: what its interface asks for is declared here, and the
 * tests give it to the real readers.
 */
import type { Series } from "../telemetry/telemetry.ts";
import { attributeName, attributeValue } from "./names.ts";
import type { MeteredMesh } from "./page.ts";
import { inSlices } from "./slices.ts";

/** Seconds since 1970, and nanoseconds. */
type HrTime = [seconds: number, nanoseconds: number];

interface Point<T> {
  readonly startTime: HrTime;
  readonly endTime: HrTime;
  readonly attributes: Record<string, string | number>;
  readonly value: T;
}

/** What `Histogram` of `@opentelemetry/sdk-metrics` is. */
interface HistogramValue {
  readonly buckets: { readonly boundaries: number[]; readonly counts: number[] };
  readonly sum?: number;
  readonly count: number;
}

/** Of `AggregationTemporality`. */
const CUMULATIVE = 1;
/** Of `DataPointType`. */
const HISTOGRAM = 0;
const GAUGE = 2;
const SUM = 3;
/** Of `ValueType`. */
const DOUBLE = 1;

interface Metric {
  readonly descriptor: {
    readonly name: string;
    readonly description: string;
    readonly unit: string;
    readonly valueType: typeof DOUBLE;
  };
  readonly aggregationTemporality: typeof CUMULATIVE;
}

type ProducedMetric = Metric &
  (
    | { readonly dataPointType: typeof SUM; dataPoints: Point<number>[]; isMonotonic: true }
    | { readonly dataPointType: typeof GAUGE; dataPoints: Point<number>[] }
    | { readonly dataPointType: typeof HISTOGRAM; dataPoints: Point<HistogramValue>[] }
  );

/** Says nothing: readers take the resource of their SDK. */
interface NoResource {
  readonly attributes: Record<string, never>;
  merge<R>(other: R | null): R | NoResource;
  getRawAttributes(): [];
}

export interface ProducedMetrics {
  resourceMetrics: {
    resource: NoResource;
    scopeMetrics: { scope: { name: string }; metrics: ProducedMetric[] }[];
  };
  errors: unknown[];
}

/** A `MetricProducer` of `@opentelemetry/sdk-metrics` 2 and 3. */
export interface MeshMetricProducer {
  collect(): Promise<ProducedMetrics>;
}

const NO_RESOURCE: NoResource = {
  attributes: {},
  merge: (other) => other ?? NO_RESOURCE,
  getRawAttributes: () => [],
};
const SCOPE = "inmesh";

/**
 * For `metricProducers` of a reader, such as `new PeriodicExportingMetricReader({ exporter, metricProducers:
 * [metricProducer(mesh)] })`: with every export the reader collects what `mesh.metrics()` has then.
 *
 * Counters are monotonic sums, histograms have explicit buckets; both are cumulative, since the start of their
 * series, whatever temporality the exporter prefers. Attributes of instruments of the mesh are `inmesh.<label>`.
 * Values that are no finite numbers are left out. Collecting is done in slices of a few milliseconds and never
 * rejects: what `mesh.metrics()` throws is in `errors`. Of a mesh with a `telemetry` of its own there is
 * nothing to collect.
 */
export function metricProducer(mesh: MeteredMesh): MeshMetricProducer {
  return {
    async collect() {
      const metrics: ProducedMetric[] = [];
      const errors: unknown[] = [];
      try {
        await inSlices(produced(mesh.metrics(), mesh.runtime.wallNow()), mesh.runtime, (metric) => {
          if (metric !== undefined) metrics.push(metric);
        });
      } catch (error) {
        // Readers ask it for its name.
        errors.push(error instanceof Error ? error : new Error(String(error)));
      }
      const scopeMetrics = metrics.length > 0 ? [{ scope: { name: SCOPE }, metrics }] : [];
      return { resourceMetrics: { resource: NO_RESOURCE, scopeMetrics }, errors };
    },
  };
}

/** One metric for each name, kind and unit, when its first series is there; undefined for further ones. */
function* produced(
  series: readonly Series[],
  nowMs: number,
): Generator<ProducedMetric | undefined, void, void> {
  const metrics = new Map<string, ProducedMetric>();
  const endTime = hrTime(nowMs);
  for (const one of series) {
    const value = valueOf(one);
    if (value === undefined) continue;
    const key = `${one.name} ${one.kind} ${one.unit}`;
    let metric = metrics.get(key);
    const isNew = metric === undefined;
    if (metric === undefined) metrics.set(key, (metric = metricOf(one)));
    (metric.dataPoints as Point<number | HistogramValue>[]).push({
      // The wall clock may have been set back since.
      startTime: hrTime(Math.min(one.startedAtWallMs, nowMs)),
      endTime,
      attributes: attributesOf(one),
      value,
    });
    yield isNew ? metric : undefined;
  }
}

function metricOf({ name, description, unit, kind }: Series): ProducedMetric {
  const common: Metric = {
    descriptor: { name, description, unit, valueType: DOUBLE },
    aggregationTemporality: CUMULATIVE,
  };
  switch (kind) {
    case "counter":
      return { ...common, dataPointType: SUM, isMonotonic: true, dataPoints: [] };
    case "gauge":
      return { ...common, dataPointType: GAUGE, dataPoints: [] };
    case "histogram":
      return { ...common, dataPointType: HISTOGRAM, dataPoints: [] };
  }
}

/** Undefined for what JSON cannot carry, and for what no counter can be. */
function valueOf(series: Series): number | HistogramValue | undefined {
  if (series.kind === "histogram") {
    const { bounds, counts, count, sum } = series;
    const buckets = { boundaries: [...bounds], counts: [...counts] };
    return Number.isFinite(sum) ? { buckets, count, sum } : { buckets, count };
  }
  const { value } = series;
  if (!Number.isFinite(value) || (series.kind === "counter" && value < 0)) return undefined;
  return value;
}

function attributesOf({ name, labels }: Series): Record<string, string | number> {
  const attributes: Record<string, string | number> = {};
  for (const label of Object.keys(labels)) {
    const attribute = attributeName(name, label);
    attributes[attribute] = attributeValue(attribute, labels[label]!);
  }
  return attributes;
}

function hrTime(wallMs: number): HrTime {
  const seconds = Math.floor(wallMs / 1000);
  return [seconds, Math.floor((wallMs - seconds * 1000) * 1e6)];
}
