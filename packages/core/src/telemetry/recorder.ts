/**
 * inmesh's own Telemetry, kept in memory. A series past the limits is folded into one named
 * `other`, so that hostile names cannot fill the memory (faults.md B10).
 */
import { NodeRuntime } from "../runtime/node-runtime.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { INSTRUMENTS } from "./instruments.ts";
import type { Counter, Histogram, Instrument, Labels, Series, Telemetry } from "./telemetry.ts";

const MAX_SERIES_PER_METRIC = 2_000;
export const MAX_LABEL_LENGTH = 128;
/** They are bound on the path of a call, where nothing may be in their way. */
const OWN = new Map(INSTRUMENTS.map((one) => [one.name, one]));

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

interface One<T> {
  readonly labels: Labels;
  readonly value: T;
  readonly startedAtWallMs: number;
}

interface Metric<T> {
  readonly instrument: Instrument;
  readonly series: Map<string, One<T>>;
}

export class Recorder implements Telemetry {
  /** Called for each record that is counted under `other`, and for each gauge that is left out. */
  onOverflow: () => void = () => {};
  readonly #wallNow: () => number;
  /** Of what kind and unit each name is: two packages that use one name must mean the same by it. */
  readonly #known = new Map<string, string>();
  readonly #counters = new Map<string, Metric<MemoryCounter>>();
  readonly #histograms = new Map<string, Metric<MemoryHistogram>>();
  readonly #gauges = new Map<string, Metric<() => number>>();

  /** `runtime` gives the time at which series begin. */
  constructor(runtime: Pick<Runtime, "wallNow"> = new NodeRuntime()) {
    this.#wallNow = () => runtime.wallNow();
  }

  /**
   * These three throw a TypeError if the name is taken: by an instrument of another kind or unit, or by
   * one of the mesh.
   */
  counter(instrument: Instrument, labels: Labels): Counter {
    this.#check(instrument, "counter");
    const make = (): MemoryCounter => new MemoryCounter();
    const { value, isOther } = this.#bind(this.#counters, instrument, labels, make);
    if (!isOther) return value;
    return { add: (amount) => (this.onOverflow(), value.add(amount)) };
  }

  histogram(instrument: Instrument & { bounds: readonly number[] }, labels: Labels): Histogram {
    this.#check(instrument, "histogram");
    const make = (): MemoryHistogram => new MemoryHistogram(instrument.bounds);
    const { value, isOther } = this.#bind(this.#histograms, instrument, labels, make);
    if (!isOther) return value;
    return { record: (measured) => (this.onOverflow(), value.record(measured)) };
  }

  gauge(instrument: Instrument, labels: Labels, read: () => number): () => void {
    this.#check(instrument, "gauge");
    const used = cap(labels);
    const key = keyOf(used);
    const metric = metricOf(this.#gauges, instrument);
    if (metric.series.size < MAX_SERIES_PER_METRIC) {
      metric.series.set(key, { labels: used, value: read, startedAtWallMs: this.#wallNow() });
    } else {
      this.onOverflow();
    }
    return () => {
      if (metric.series.get(key)?.value === read) metric.series.delete(key);
    };
  }

  /** Every series as plain data, sorted by name. A gauge that throws is NaN. */
  read(): Series[] {
    const all: Series[] = [];
    // Names are sorted, not series, and each series is one literal: there may be many thousands.
    for (const { instrument, series } of this.#byName()) {
      const { name, unit, description } = instrument;
      for (const { labels, value, startedAtWallMs } of series.values()) {
        if (value instanceof MemoryHistogram) {
          const counts = [...value.counts];
          const { bounds, sum } = value;
          let count = 0;
          for (const one of counts) count += one;
          all.push({
            kind: "histogram",
            name,
            unit,
            description,
            labels,
            startedAtWallMs,
            count,
            sum,
            bounds,
            counts,
          });
        } else if (value instanceof MemoryCounter) {
          const { value: total } = value;
          all.push({
            kind: "counter",
            name,
            unit,
            description,
            labels,
            startedAtWallMs,
            value: total,
          });
        } else {
          const now = valueOf(value);
          all.push({ kind: "gauge", name, unit, description, labels, startedAtWallMs, value: now });
        }
      }
    }
    return all;
  }

  /** Series as Prometheus counts them: a histogram is one for each limit, and sum and count. */
  get size(): number {
    let size = 0;
    for (const { series } of this.#counters.values()) size += series.size;
    for (const { series } of this.#gauges.values()) size += series.size;
    for (const { series } of this.#histograms.values()) {
      const [first] = series.values();
      size += series.size * ((first?.value.bounds.length ?? 0) + 3);
    }
    return size;
  }

  #byName(): Metric<MemoryCounter | MemoryHistogram | (() => number)>[] {
    return [
      ...this.#counters.values(),
      ...this.#gauges.values(),
      ...this.#histograms.values(),
    ].toSorted((a, b) => (a.instrument.name < b.instrument.name ? -1 : 1));
  }

  #check(instrument: Instrument, kind: string): void {
    if (OWN.get(instrument.name) === instrument) return;
    const { name, unit } = instrument;
    if (OWN.has(name)) throw new TypeError(`${name} is an instrument of the mesh`);
    const said = `a ${kind} in ${unit}`;
    const before = this.#known.get(name);
    if (before === undefined) this.#known.set(name, said);
    else if (before !== said) throw new TypeError(`${name} is ${before}, and cannot be ${said}`);
  }

  #bind<T>(
    metrics: Map<string, Metric<T>>,
    instrument: Instrument,
    labels: Labels,
    make: () => T,
  ): { value: T; isOther: boolean } {
    const metric = metricOf(metrics, instrument);
    const full = metric.series.size >= MAX_SERIES_PER_METRIC && !metric.series.has(keyOf(labels));
    const used = full
      ? Object.fromEntries(Object.keys(labels).map((name) => [name, "other"]))
      : cap(labels);
    const key = keyOf(used);
    let entry = metric.series.get(key);
    if (entry === undefined) {
      entry = { labels: used, value: make(), startedAtWallMs: this.#wallNow() };
      metric.series.set(key, entry);
    }
    return { value: entry.value, isOther: full };
  }
}

/** A gauge of another package must not keep every other series from being read. */
function valueOf(read: () => number): number {
  try {
    return read();
  } catch {
    return Number.NaN;
  }
}

function metricOf<T>(metrics: Map<string, Metric<T>>, instrument: Instrument): Metric<T> {
  let metric = metrics.get(instrument.name);
  if (metric === undefined) {
    metric = { instrument, series: new Map() };
    metrics.set(instrument.name, metric);
  }
  return metric;
}

/** Well-formed too: what is cut in the middle of a character has no UTF-8. */
function cap(labels: Labels): Labels {
  const capped = Object.entries(labels).map(([name, value]) => [
    name,
    value.slice(0, MAX_LABEL_LENGTH).toWellFormed(),
  ]);
  return Object.fromEntries(capped) as Labels;
}

function keyOf(labels: Labels): string {
  return JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}
