/** How much of a caller's traffic goes to each zone, and to each of several priorities. Arithmetic only. */

/**
 * A caller's shares by zone (Envoy's zone aware routing). `callers` and `capacity` are by zone, in any unit. With as
 * large a share of the capacity as of the callers, a zone keeps all of its traffic; else what is too much for it goes
 * to the zones that have more capacity than callers. If every caller does so, the load is even.
 * https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/zone_aware
 */
export function zoneShares(
  callers: readonly number[],
  capacity: readonly number[],
  local: number,
): number[] {
  const allCallers = sum(callers);
  const all = sum(capacity);
  const shares = capacity.map(() => 0);
  if (all === 0 || !(callers[local]! > 0)) return shares;
  const kept = Math.min(1, capacity[local]! / all / (callers[local]! / allCallers));
  const spare = capacity.map((one, i) =>
    i === local ? 0 : Math.max(0, one / all - callers[i]! / allCallers),
  );
  const allSpare = sum(spare);
  // Rounding may leave a local share of almost 1 with nothing spare elsewhere.
  shares[local] = allSpare > 0 ? kept : 1;
  if (allSpare > 0)
    for (const [i, one] of spare.entries())
      if (i !== local) shares[i] = ((1 - kept) * one) / allSpare;
  return shares;
}

/** So many percent more than its share can a priority take before the next one gets some. */
const OVERPROVISIONING = 1.4;

/**
 * The load of each priority in percent, 100 together unless nothing is healthy. The first keeps everything until
 * fewer than 1 / 1.4 of its endpoints are healthy.
 * https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/priority
 */
export function priorityLoads(healthy: readonly number[], total: readonly number[]): number[] {
  const health = total.map((all, i) =>
    all === 0 ? 0 : Math.min(100, Math.floor((OVERPROVISIONING * 100 * healthy[i]!) / all)),
  );
  const together = Math.min(100, sum(health));
  let rest = together === 0 ? 0 : 100;
  return health.map((one) => {
    const load = Math.min(rest, Math.round((one * 100) / together) || 0);
    rest -= load;
    return load;
  });
}

function sum(of: readonly number[]): number {
  let total = 0;
  for (const one of of) total += one;
  return total;
}
