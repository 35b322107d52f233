/** Long work in short pieces, with the I/O of the process in between. */
import type { Runtime } from "../runtime/runtime.ts";

/** A call that arrives meanwhile waits so long at most, and as long again for what the collector does. */
const SLICE_MS = 3;
/** Steps between two looks at the clock, where each is short. */
const STEPS = 16;

/** Gives every step to `take`. `stepsPerLook`: at the clock; 1 where a step may be long. Rejects with what a step throws. */
export async function inSlices<T>(
  steps: Iterable<T>,
  runtime: Pick<Runtime, "now" | "afterIo">,
  take: (step: T) => void,
  stepsPerLook: number = STEPS,
): Promise<void> {
  let endsAt = runtime.now() + SLICE_MS;
  let count = 0;
  for (const step of steps) {
    take(step);
    if (++count % stepsPerLook !== 0 || runtime.now() < endsAt) continue;
    await new Promise<void>((resolve) => runtime.afterIo(resolve));
    endsAt = runtime.now() + SLICE_MS;
  }
}
