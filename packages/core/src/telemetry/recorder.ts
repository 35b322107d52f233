/**
 * inmesh's own Telemetry, kept in memory. A series past the limits is folded into one named
 * `other`, so that hostile names cannot fill the memory (faults.md B10).
 */
import type { Counter, Histogram, Instrument, Labels, Series, Telemetry } from "./telemetry.ts";

const MAX_SERIES_PER_METRIC = 2_000;
const MAX_LABEL_LENGTH = 128;

class MemoryCounter implements Counter {
  value = 0;
  add(value: number): void {
    this.value += value;
  }
}

class MemoryHistogram implements Histogram {
  readonly counts: Float64Array;
  readonly bounds: readonly number[];
  sum = 0;
  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }
  record(value: number): void {
    const { bounds } = this;
    let i = 0;
    while (i < bounds.length && value > bounds[i]!) i++;
    this.counts[i]!++;
    this.sum += value;
  }
}

interface Metric<T> {
  instrument: Instrument;
  series: Map<string, { labels: Labels; value: T }>;
}

export class Recorder implements Telemetry {
  readonly #counters = new Map<string, Metric<MemoryCounter>>();
  readonly #histograms = new Map<string, Metric<MemoryHistogram>>();
  readonly #gauges = new Map<string, Metric<() => number>>();

  counter(instrument: Instrument, labels: Labels): Counter {
    return bind(this.#counters, instrument, labels, () => new MemoryCounter());
  }

  histogram(instrument: Instrument & { bounds: readonly number[] }, labels: Labels): Histogram {
    return bind(this.#histograms, instrument, labels, () => new MemoryHistogram(instrument.bounds));
  }

  gauge(instrument: Instrument, labels: Labels, read: () => number): () => void {
    const key = keyOf(labels);
    const metric = metricOf(this.#gauges, instrument);
    if (metric.series.size < MAX_SERIES_PER_METRIC) metric.series.set(key, { labels, value: read });
    return () => {
      if (metric.series.get(key)?.value === read) metric.series.delete(key);
    };
  }

  /** Every series as plain data, sorted by name. */
  read(): Series[] {
    const all: Series[] = [];
    for (const { instrument, series } of this.#counters.values()) {
      for (const { labels, value } of series.values()) {
        all.push({ kind: "counter", ...nameOf(instrument), labels, value: value.value });
      }
    }
    for (const { instrument, series } of this.#gauges.values()) {
      for (const { labels, value } of series.values()) {
        all.push({ kind: "gauge", ...nameOf(instrument), labels, value: value() });
      }
    }
    for (const { instrument, series } of this.#histograms.values()) {
      for (const { labels, value } of series.values()) {
        const counts = [...value.counts];
        all.push({
          kind: "histogram",
          ...nameOf(instrument),
          labels,
          count: counts.reduce((a, b) => a + b, 0),
          sum: value.sum,
          bounds: value.bounds,
          counts,
        });
      }
    }
    return all.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  }
}

function nameOf({ name, unit }: Instrument): { name: string; unit: string } {
  return { name, unit };
}

function metricOf<T>(metrics: Map<string, Metric<T>>, instrument: Instrument): Metric<T> {
  let metric = metrics.get(instrument.name);
  if (metric === undefined) {
    metric = { instrument, series: new Map() };
    metrics.set(instrument.name, metric);
  }
  return metric;
}

function bind<T>(
  metrics: Map<string, Metric<T>>,
  instrument: Instrument,
  labels: Labels,
  make: () => T,
): T {
  const metric = metricOf(metrics, instrument);
  const full = metric.series.size >= MAX_SERIES_PER_METRIC && !metric.series.has(keyOf(labels));
  const used = full
    ? Object.fromEntries(Object.keys(labels).map((name) => [name, "other"]))
    : cap(labels);
  const key = keyOf(used);
  let entry = metric.series.get(key);
  if (entry === undefined) {
    entry = { labels: used, value: make() };
    metric.series.set(key, entry);
  }
  return entry.value;
}

function cap(labels: Labels): Labels {
  const capped = Object.entries(labels).map(([name, value]) => [
    name,
    value.slice(0, MAX_LABEL_LENGTH),
  ]);
  return Object.fromEntries(capped) as Labels;
}

function keyOf(labels: Labels): string {
  return JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}
