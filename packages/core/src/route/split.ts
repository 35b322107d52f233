/**
 * Weighted choice between the destinations of a route.
 *
 * A destination that is not available passes its share on to the others in proportion to their
 * weights: of 80/15/5 without the first it is 75/25. Only calls that would have gone to the missing
 * one move; the same `u` keeps its destination while that is available. With none available the
 * weights decide as if all were, so that the caller's error is about a destination of the route.
 */

export interface WeightedRef<T> {
  /** Share relative to the other refs. 0: never chosen, not even in need. */
  readonly weight: number;
  readonly value: T;
}

/**
 * The chooser takes `u` from [0, 1), allocates nothing, and asks `available` of one destination
 * unless that one is missing. A single destination is not asked about. Throws if no weight is
 * above 0: such a route has nowhere to go, and configuration must not let it through.
 */
export function compileSplit<T>(
  refs: readonly WeightedRef<T>[],
  available: (value: T) => boolean,
): (u: number) => T {
  for (const { weight } of refs) {
    if (!(weight >= 0 && weight < Infinity)) throw new RangeError(`invalid weight ${weight}`);
  }
  const open = refs.filter((ref) => ref.weight > 0);
  const last = open.at(-1);
  if (last === undefined) throw new RangeError("no destination has a weight above 0");
  if (open.length === 1) return () => last.value;

  let total = 0;
  for (const ref of open) total += ref.weight;

  return (u) => {
    let point = u * total;
    let chosen = last;
    for (const ref of open) {
      if (point < ref.weight) {
        chosen = ref;
        break;
      }
      point -= ref.weight;
    }
    if (available(chosen.value)) return chosen.value;
    // Where `u` fell within the missing share is again uniform, which saves a second number.
    return chooseAvailable(open, available, point / chosen.weight) ?? chosen.value;
  };
}

function chooseAvailable<T>(
  refs: readonly WeightedRef<T>[],
  available: (value: T) => boolean,
  u: number,
): T | undefined {
  let total = 0;
  for (const ref of refs) if (available(ref.value)) total += ref.weight;
  let point = u * total;
  let chosen: T | undefined;
  for (const ref of refs) {
    if (!available(ref.value)) continue;
    chosen = ref.value;
    if (point < ref.weight) break;
    point -= ref.weight;
  }
  return chosen;
}
