/** Arithmetic over samples: quantiles, ratios, windows of time. */
import type { Sample } from "./load.ts";

/** NaN if there are none. */
export function quantile(sorted: readonly number[], q: number): number {
  if (sorted.length === 0) return NaN;
  const at = q * (sorted.length - 1);
  const low = sorted[Math.floor(at)]!;
  return low + (sorted[Math.ceil(at)]! - low) * (at - Math.floor(at));
}

/** Ascending latencies of all requests, failed ones included: a caller waits for those too. */
export function latencies(samples: readonly Sample[]): number[] {
  return samples.map(({ dueAt, endedAt }) => endedAt - dueAt).sort((a, b) => a - b);
}

/** NaN if there are none. */
export function successRatio(samples: readonly Sample[]): number {
  return samples.length === 0 ? NaN : samples.filter(({ ok }) => ok).length / samples.length;
}

export function dueWithin(
  samples: readonly Sample[],
  [from, to]: readonly [number, number],
): Sample[] {
  return samples.filter(({ dueAt }) => dueAt >= from && dueAt < to);
}

/** The last ones of a list in order of their end. */
export function endedSince(samples: readonly Sample[], from: number): Sample[] {
  let first = samples.length;
  while (first > 0 && samples[first - 1]!.endedAt >= from) first--;
  return samples.slice(first);
}
