/**
 * The series of several processes as those of one, for a page that shows all of them. Counters and histograms are added
 * up, and never fall because a process ends: what it had counted when it was read last goes on counting, for as long as
 * another one counts the same. What becomes of gauges depends on what they are of:
 *
 * - an instant (`….timestamp`): the earliest, which is the process that is behind, or the certificate that ends first;
 * - what each process has of the same thing, in the units of `LARGEST`: the largest, such as the state that is 1 in any
 *   of them, or the busiest loop;
 * - any other amount, such as calls in progress: the sum.
 */
import type { Exemplar, Series } from "../telemetry/telemetry.ts";

/** Units of gauges that say the same of each process, or how bad it is: adding them up would say nothing. */
export const LARGEST: ReadonlySet<string> = new Set([
  "{state}",
  "{level}",
  "{generation}",
  "{score}",
  "{endpoint}",
  "{item}",
  "{subscriber}",
  "1",
  "s",
]);

type Numbered = Extract<Series, { kind: "counter" | "gauge" }>;
type Histogram = Extract<Series, { kind: "histogram" }>;

/** By how much sums of the same numbers differ at most, as a share, where they are added up in another order. */
const ROUNDING = 1e-9;

/** Of one process at its last reading, by their keys. */
type Reading = ReadonlyMap<string, Series>;

export class MergedSeries {
  readonly #last = new Map<unknown, Reading>();
  /** What was counted by series that are gone. */
  readonly #past = new Map<string, Series>();
  /** What counters and sums were at the last reading. */
  #shown = new Map<string, number>();

  /**
   * What each process says now, by anything that stands for it. One that has not answered and runs is left out of
   * `readings` and named in `silent`: its last reading counts. One that is in neither has ended.
   */
  add(readings: ReadonlyMap<unknown, readonly Series[]>, silent: Iterable<unknown>): Series[] {
    const kept = new Set<unknown>(silent);
    for (const [of, last] of this.#last) {
      const now = readings.get(of);
      if (now === undefined && kept.has(of)) continue;
      const keys = new Set((now ?? []).map(keyOf));
      for (const [key, series] of last) if (!keys.has(key)) this.#ended(key, series);
      if (now === undefined) this.#last.delete(of);
    }
    for (const [of, all] of readings) {
      this.#last.set(of, new Map(all.map((one) => [keyOf(one), one])));
    }
    return this.#merged();
  }

  #ended(key: string, series: Series): void {
    if (series.kind !== "gauge") this.#past.set(key, sumOf(this.#past.get(key), series));
  }

  #merged(): Series[] {
    const merged = new Map<string, Series>();
    for (const reading of this.#last.values()) {
      for (const [key, series] of reading) merged.set(key, sumOf(merged.get(key), series));
    }
    for (const [key, series] of this.#past) {
      const now = merged.get(key);
      // Nothing counts it any more: it would stay for good. What begins anew begins at 0.
      if (now === undefined) this.#past.delete(key);
      else merged.set(key, sumOf(now, series));
    }
    this.#keepFromFalling(merged);
    return [...merged.values()].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  }

  /**
   * A process that ends moves what it had counted to another place in the sum, which may be less in its last digit then.
   * To who reads it a counter that falls has begun anew, and all of it would count once more.
   */
  #keepFromFalling(merged: Map<string, Series>): void {
    const shown = new Map<string, number>();
    for (const [key, one] of merged) {
      if (one.kind === "gauge") continue;
      const now = one.kind === "histogram" ? one.sum : one.value;
      const before = this.#shown.get(key) ?? 0;
      const isRounded = now < before && now >= before * (1 - ROUNDING);
      shown.set(key, isRounded ? before : now);
      if (!isRounded) continue;
      merged.set(
        key,
        one.kind === "histogram" ? { ...one, sum: before } : { ...one, value: before },
      );
    }
    this.#shown = shown;
  }
}

function keyOf({ name, kind, unit, labels }: Series): string {
  let key = JSON.stringify([kind, name, unit]);
  for (const label of Object.keys(labels).sort()) {
    key += `${JSON.stringify(label)}${JSON.stringify(labels[label])}`;
  }
  return key;
}

/** `one` has the key of `before`, and is left as it is. */
function sumOf(before: Series | undefined, one: Series): Series {
  if (before === undefined) return one;
  const startedAtWallMs = Math.min(before.startedAtWallMs, one.startedAtWallMs);
  if (one.kind === "histogram") return histogramOf(before as Histogram, one, startedAtWallMs);
  const { value, exemplar } = before as Numbered;
  const merged: Numbered = { ...one, startedAtWallMs, value: valueOf(value, one) };
  const latest = latestOf(exemplar, one.exemplar);
  if (latest !== undefined) merged.exemplar = latest;
  return merged;
}

function histogramOf(before: Histogram, one: Histogram, startedAtWallMs: number): Histogram {
  // Of another version: there is no sum of both.
  if (before.counts.length !== one.counts.length) return before;
  const merged: Histogram = {
    ...one,
    startedAtWallMs,
    count: before.count + one.count,
    sum: before.sum + one.sum,
    counts: one.counts.map((count, i) => count + before.counts[i]!),
  };
  if (before.exemplars !== undefined || one.exemplars !== undefined) {
    merged.exemplars = one.counts.map((_, i) =>
      latestOf(before.exemplars?.[i] ?? undefined, one.exemplars?.[i] ?? undefined),
    );
  }
  return merged;
}

function latestOf(one: Exemplar | undefined, other: Exemplar | undefined): Exemplar | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return one.atWallMs > other.atWallMs ? one : other;
}

/** A gauge that cannot be read in one process is what it is in the others. */
function valueOf(before: number, { kind, name, unit, value }: Numbered): number {
  if (kind === "counter") return before + value;
  if (Number.isNaN(before)) return value;
  if (Number.isNaN(value)) return before;
  if (name.endsWith(".timestamp")) return Math.min(before, value);
  return LARGEST.has(unit) ? Math.max(before, value) : before + value;
}
