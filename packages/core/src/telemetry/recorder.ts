/**
 * inmesh's own Telemetry, kept in memory. A series past the limits is folded into one named
 * `other`, so that hostile names cannot fill the memory (faults.md B10).
 */
import { NodeRuntime } from "../runtime/node-runtime.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { INSTRUMENTS } from "./instruments.ts";
import type {
  Counter,
  Exemplar,
  Histogram,
  Instrument,
  Labels,
  Series,
  Telemetry,
} from "./telemetry.ts";

export const MAX_SERIES_PER_METRIC = 2_000;
/** As Prometheus counts them. */
export const MAX_SERIES = 20_000;
export const MAX_LABEL_LENGTH = 128;
/** They are bound on the path of a call, where nothing may be in their way. */
const OWN = new Map(INSTRUMENTS.map((one) => [one.name, one]));

/** Which limit a record has met: 2,000 series of one metric, or 20,000 of the process. */
export type Overflow = "metric" | "process";

/** A bucket is filled often where two of its exemplars come within so many milliseconds: then one in `KEPT` is kept. */
const OFTEN_MS = 100;
const KEPT = 16;

/**
 * The last exemplar of each bucket, in place. They exist once something sampled was recorded. Of a bucket that is
 * filled often some are left out, because the clock and three writes cost more than to count.
 */
class Exemplars {
  readonly #traceIds: (string | undefined)[];
  readonly #values: Float64Array;
  readonly #at: Float64Array;
  /** How many more are left out. */
  readonly #skipped: Uint8Array;
  readonly #wallNow: () => number;

  constructor(buckets: number, wallNow: () => number) {
    this.#traceIds = Array.from({ length: buckets }, () => undefined);
    this.#values = new Float64Array(buckets);
    this.#at = new Float64Array(buckets);
    this.#skipped = new Uint8Array(buckets);
    this.#wallNow = wallNow;
  }

  add(bucket: number, traceId: string, value: number): void {
    if (this.#skipped[bucket]! > 0) {
      this.#skipped[bucket]!--;
      return;
    }
    const at = this.#wallNow();
    this.#skipped[bucket] = Math.abs(at - this.#at[bucket]!) < OFTEN_MS ? KEPT - 1 : 0;
    this.#traceIds[bucket] = traceId;
    this.#values[bucket] = value;
    this.#at[bucket] = at;
  }

  get(bucket: number): Exemplar | undefined {
    const traceId = this.#traceIds[bucket];
    if (traceId === undefined) return undefined;
    return { traceId, value: this.#values[bucket]!, atWallMs: this.#at[bucket]! };
  }
}

class MemoryCounter implements Counter {
  value = 0;
  exemplars: Exemplars | undefined = undefined;
  readonly #wallNow: () => number;

  constructor(wallNow: () => number) {
    this.#wallNow = wallNow;
  }

  add(value: number, traceId?: string): void {
    this.value += value;
    if (traceId !== undefined) {
      (this.exemplars ??= new Exemplars(1, this.#wallNow)).add(0, traceId, value);
    }
  }
}

/** A counter that is kept elsewhere. */
class ReadCounter {
  readonly read: () => number;

  constructor(read: () => number) {
    this.read = read;
  }

  get value(): number {
    return valueOf(this.read);
  }
}

class MemoryHistogram implements Histogram {
  readonly counts: Float64Array;
  readonly bounds: readonly number[];
  sum = 0;
  exemplars: Exemplars | undefined = undefined;
  readonly #wallNow: () => number;

  constructor(bounds: readonly number[], wallNow: () => number) {
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
    this.#wallNow = wallNow;
  }

  record(value: number, traceId?: string): void {
    const { bounds } = this;
    let i = 0;
    while (i < bounds.length && value > bounds[i]!) i++;
    this.counts[i]!++;
    this.sum += value;
    if (traceId !== undefined) {
      const exemplars = (this.exemplars ??= new Exemplars(this.counts.length, this.#wallNow));
      exemplars.add(i, traceId, value);
    }
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
  /** Lines of the page for each series. */
  readonly lines: number;
}

export class Recorder implements Telemetry {
  /** Called for each record that is counted under `other`, and for each gauge that is left out. */
  onOverflow: (limit: Overflow) => void = () => {};
  readonly #wallNow: () => number;
  /** Of what kind and unit each name is: two packages that use one name must mean the same by it. */
  readonly #known = new Map<string, string>();
  readonly #counters = new Map<string, Metric<MemoryCounter>>();
  readonly #histograms = new Map<string, Metric<MemoryHistogram>>();
  readonly #totals = new Map<string, Metric<ReadCounter>>();
  readonly #gauges = new Map<string, Metric<() => number>>();
  #size = 0;

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
    const make = (): MemoryCounter => new MemoryCounter(this.#wallNow);
    const { value, full } = this.#bind(this.#counters, instrument, labels, 1, make);
    if (full === undefined) return value;
    return { add: (amount, traceId) => (this.onOverflow(full), value.add(amount, traceId)) };
  }

  histogram(instrument: Instrument & { bounds: readonly number[] }, labels: Labels): Histogram {
    this.#check(instrument, "histogram");
    const make = (): MemoryHistogram => new MemoryHistogram(instrument.bounds, this.#wallNow);
    const lines = instrument.bounds.length + 3;
    const { value, full } = this.#bind(this.#histograms, instrument, labels, lines, make);
    if (full === undefined) return value;
    return {
      record: (measured, traceId) => (this.onOverflow(full), value.record(measured, traceId)),
    };
  }

  gauge(instrument: Instrument, labels: Labels, read: () => number): () => void {
    this.#check(instrument, "gauge");
    return this.#add(metricOf(this.#gauges, instrument, 1), labels, read);
  }

  /** One with the labels of another takes its place. */
  total(instrument: Instrument, labels: Labels, read: () => number): () => void {
    this.#check(instrument, "counter");
    return this.#add(metricOf(this.#totals, instrument, 1), labels, new ReadCounter(read));
  }

  #add<T>(metric: Metric<T>, labels: Labels, value: T): () => void {
    const used = cap(labels);
    const key = keyOf(used);
    const isNew = !metric.series.has(key);
    const full = isNew ? this.#fullFor(metric) : undefined;
    if (full === undefined) {
      metric.series.set(key, { labels: used, value, startedAtWallMs: this.#wallNow() });
      if (isNew) this.#size++;
    } else {
      this.onOverflow(full);
    }
    return () => {
      if (metric.series.get(key)?.value !== value) return;
      metric.series.delete(key);
      this.#size--;
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
          const { bounds, sum, exemplars } = value;
          let count = 0;
          for (const one of counts) count += one;
          const histogram: Series & { kind: "histogram" } = {
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
          };
          if (exemplars !== undefined) histogram.exemplars = counts.map((_, i) => exemplars.get(i));
          all.push(histogram);
        } else if (value instanceof MemoryCounter || value instanceof ReadCounter) {
          const { value: total } = value;
          const counter: Series & { kind: "counter" | "gauge" } = {
            kind: "counter",
            name,
            unit,
            description,
            labels,
            startedAtWallMs,
            value: total,
          };
          const exemplars = value instanceof MemoryCounter ? value.exemplars : undefined;
          if (exemplars !== undefined) counter.exemplar = exemplars.get(0)!;
          all.push(counter);
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
    return this.#size;
  }

  /** Why the metric takes no further series; undefined: it takes one. */
  #fullFor({ series, lines }: Metric<unknown>): Overflow | undefined {
    if (series.size >= MAX_SERIES_PER_METRIC) return "metric";
    return this.#size + lines > MAX_SERIES ? "process" : undefined;
  }

  /** Series of the instrument that has the most of them, which is the first to be full. */
  get most(): number {
    let most = 0;
    for (const { series } of this.#byName()) most = Math.max(most, series.size);
    return most;
  }

  #byName(): Metric<MemoryCounter | ReadCounter | MemoryHistogram | (() => number)>[] {
    return [
      ...this.#counters.values(),
      ...this.#totals.values(),
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
    lines: number,
    make: () => T,
  ): { value: T; full: Overflow | undefined } {
    const metric = metricOf(metrics, instrument, lines);
    const own = cap(labels);
    const full = metric.series.has(keyOf(own)) ? undefined : this.#fullFor(metric);
    const used =
      full === undefined
        ? own
        : Object.fromEntries(Object.keys(labels).map((name) => [name, "other"]));
    const key = keyOf(used);
    let entry = metric.series.get(key);
    if (entry === undefined) {
      // What is folded has its one series beyond the limits: there is one for each metric.
      entry = { labels: used, value: make(), startedAtWallMs: this.#wallNow() };
      metric.series.set(key, entry);
      this.#size += lines;
    }
    return { value: entry.value, full };
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

function metricOf<T>(
  metrics: Map<string, Metric<T>>,
  instrument: Instrument,
  lines: number,
): Metric<T> {
  let metric = metrics.get(instrument.name);
  if (metric === undefined) {
    metric = { instrument, series: new Map(), lines };
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
