/**
 * `@inmesh/core/spi/inspect`: for a package that serves what a mesh says about itself. An entry of its own, because
 * only who asks for that loads it. Not covered by semver before 1.0.
 */
export { Inspection, type AboutContext, type Selection } from "../inspect/inspection.ts";
export { InspectionError } from "../inspect/error.ts";
export type { Lazily } from "../inspect/answer.ts";
export { mergeAnswers, type AnswerOf } from "../inspect/merge.ts";
export { CHECKS, type CheckId } from "../inspect/checks.ts";
export { LOG_LEVELS, MAX_LOG_LEVEL_MS, MIN_LOG_LEVEL_MS } from "../inspect/log-level.ts";

// Where the API of this process is, for the commands of this user, and which of them there are.
export {
  announceApi,
  findProcesses,
  type FoundProcess,
  type FoundProcesses,
} from "../discovery/registry/processes.ts";
export { registryPlace } from "../discovery/registry/place.ts";

// Calls as they end, by a filter that is written as text.
export { parseTapOptions } from "../tap/parse.ts";
export type { Tap } from "../tap/taps.ts";

// The page of metrics, and long work in pieces with the I/O of the process in between.
export { metricsPage, type MetricsPage } from "../metrics/page.ts";
export { MergedSeries } from "../metrics/merge.ts";
export { inSlices } from "../metrics/slices.ts";
