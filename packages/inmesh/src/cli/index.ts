/**
 * `inmesh/cli`: what the command is made of, for a program of another package that looks, reads its arguments and ends
 * as `inmesh` does. Not covered by semver before 1.0.
 */
export { loadSuggest, parse, type Options, type Parsed, type Values } from "./arguments.ts";
export { candidatesOf, printCandidates, type Candidate, type Completes } from "./candidates.ts";
export type { CommandText, Context } from "./command.ts";
export { completionScript } from "./completion-scripts.ts";
export { EXIT, Failure, UsageFailure, type ExitCode, type FailureText } from "./failure.ts";
export { helpOf, synopsis, usageOf, type ExitTexts } from "./help.ts";
export { parseDuration } from "./numbers.ts";
export { GENERAL } from "./options.ts";
export { Output } from "./output.ts";
export { program, type Program } from "./program.ts";
export { report } from "./report.ts";
export { VERSION } from "./version.ts";
