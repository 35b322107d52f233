/** What a program prints of a failure, on stderr. */
import { UsageFailure, type Failure } from "./failure.ts";
import type { Output } from "./output.ts";

/** What happened, why, and what to do next. `usage`: how the command is written, for mistakes in that. */
export function report(error: Failure, usage: string, output: Output, debug: boolean): void {
  print(error, usage, output);
  if (debug) output.error(`\n${output.safeLines(stackOf(error))}`);
}

function print(error: Failure, usage: string, output: Output): void {
  if (error instanceof UsageFailure) {
    for (const mistake of error.mistakes) output.note(output.safe(mistake));
    output.error(`\n${usage}`);
    return;
  }
  const { what, why, next } = error.text;
  for (const sentence of what.split("\n"))
    output.note(output.safe(/^ {2}|[.?!:]$/.test(sentence) ? sentence : `${sentence}.`));
  if (why !== undefined) output.note(`  why   ${output.safe(why)}`, 8);
  if (next !== undefined) output.note(`  next  ${output.safe(next)}`, 8);
}

/** With those of its causes. */
function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${stackOf(error.cause)}` : "";
  return (error.stack ?? error.message) + cause;
}
