/** When a connection is old: every one a little earlier or later, or all would be dialled anew at once. */
import type { Runtime } from "./runtime.ts";

const JITTER_RATIO = 0.1;

/** The instant, `maxAgeMs` ± 10 % from now. Infinity: never. */
export function endOfAge(maxAgeMs: number, runtime: Runtime): number {
  return runtime.now() + maxAgeMs * (1 + JITTER_RATIO * (2 * runtime.random() - 1));
}
