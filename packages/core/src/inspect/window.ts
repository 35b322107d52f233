/**
 * What two readings of `GET /api/v1/services` say about the time between them: rates, quantiles and success are
 * computed by who reads, over the window that the reader wants. Pure, without any other part of the mesh.
 */
import type { AttemptKinds, LatencyHistogram, OutcomeCounts, Traffic } from "./api.ts";

/** From 0 to 1: calls that a caller gave up do not count. Undefined: there were none. */
export function successRatio({ total, success, abandoned }: OutcomeCounts): number | undefined {
  const judged = total - abandoned;
  return judged > 0 ? success / judged : undefined;
}

/** How many attempts a call took on average, 1 without retries. Undefined: there were no calls. */
export function attemptsPerCall({ calls, attempts }: Traffic): number | undefined {
  return calls.total > 0 ? attempts.total / calls.total : undefined;
}

/**
 * The latency, in milliseconds, below which this share of the values lies: interpolated within its bucket, as
 * Prometheus' `histogram_quantile` does. Above the last limit it is that limit. Undefined: there are no values.
 */
export function quantileMs(
  counts: readonly number[],
  boundsSeconds: readonly number[],
  share: number,
): number | undefined {
  let total = 0;
  for (const count of counts) total += count;
  if (!(total > 0)) return undefined;
  let rank = share * total;
  for (const [i, count] of counts.entries()) {
    const upper = boundsSeconds[i];
    if (upper === undefined) break;
    if (rank <= count && count > 0) {
      const lower = i === 0 ? 0 : boundsSeconds[i - 1]!;
      return 1_000 * (lower + ((upper - lower) * rank) / count);
    }
    rank -= count;
  }
  return 1_000 * (boundsSeconds.at(-1) ?? 0);
}

/**
 * What was counted between two readings of one `instance`. Without an earlier one, or where a counter has gone down,
 * all of `after` counts.
 */
export function since(
  after: Traffic,
  before: Traffic | undefined,
  boundsSeconds: readonly number[],
): Traffic {
  return {
    calls: countsSince(after.calls, before?.calls),
    callLatency: latencySince(after.callLatency, before?.callLatency, boundsSeconds),
    attempts: countsSince(after.attempts, before?.attempts),
    attemptLatency: latencySince(after.attemptLatency, before?.attemptLatency, boundsSeconds),
    attemptKinds: countsSince(after.attemptKinds, before?.attemptKinds),
    retryDecisions: namedSince(after.retryDecisions, before?.retryDecisions),
    callReasons: namedSince(after.callReasons, before?.callReasons),
    attemptReasons: namedSince(after.attemptReasons, before?.attemptReasons),
    callStatuses: namedSince(after.callStatuses, before?.callStatuses),
  };
}

export function countsSince<T extends OutcomeCounts | AttemptKinds>(
  after: T,
  before: T | undefined,
): T {
  return namedSince(
    after as unknown as Record<string, number>,
    before as unknown as Record<string, number> | undefined,
    true,
  ) as unknown as T;
}

export function latencySince(
  after: LatencyHistogram,
  before: LatencyHistogram | undefined,
  boundsSeconds: readonly number[],
): LatencyHistogram {
  const isReset = before !== undefined && before.count > after.count;
  const base = isReset ? undefined : before;
  const counts = after.counts.map((count, i) => Math.max(0, count - (base?.counts[i] ?? 0)));
  return histogramOf(counts, after.sumSeconds - (base?.sumSeconds ?? 0), boundsSeconds);
}

export function histogramOf(
  counts: readonly number[],
  sumSeconds: number,
  boundsSeconds: readonly number[],
): LatencyHistogram {
  let count = 0;
  for (const one of counts) count += one;
  return {
    count,
    sumSeconds,
    counts,
    p50Ms: quantileMs(counts, boundsSeconds, 0.5),
    p95Ms: quantileMs(counts, boundsSeconds, 0.95),
    p99Ms: quantileMs(counts, boundsSeconds, 0.99),
  };
}

/** `keepZeros`: of a closed set of names, each stays. */
function namedSince(
  after: Readonly<Record<string, number>>,
  before: Readonly<Record<string, number>> | undefined,
  keepZeros = false,
): Record<string, number> {
  const result: Record<string, number> = {};
  for (const [name, value] of Object.entries(after)) {
    const earlier = before?.[name] ?? 0;
    const difference = earlier > value ? value : value - earlier;
    if (difference > 0 || keepZeros) result[name] = difference;
  }
  return result;
}
