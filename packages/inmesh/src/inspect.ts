/**
 * `inmesh/inspect`: for programs that read the API of a process: types of its answers, and rates and quantiles from two
 * readings. Loads no other part of inmesh.
 */
export type * from "@inmesh/core/inspect";
// By name, because the build writes the ESM face from the names that it sees.
export {
  API_VERSION,
  attemptsPerCall,
  countsSince,
  latencySince,
  quantileMs,
  since,
  successRatio,
} from "@inmesh/core/inspect";
