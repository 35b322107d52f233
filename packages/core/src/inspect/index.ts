/**
 * `inmesh/inspect`: for programs that read the API of a process (docs/reference/admin-api.md): the types of its
 * answers, and rates and quantiles from two readings. Loads no other part of inmesh.
 */
export * from "./api.ts";
export { duration } from "../shown-time.ts";
export {
  attemptsPerCall,
  countsSince,
  latencySince,
  quantileMs,
  since,
  successRatio,
} from "./window.ts";
