/** `inmesh completion <shell>`: a script that asks `inmesh __complete` what may come next. */
import type { Options, Parsed } from "../arguments.ts";
import type { Context } from "../command.ts";
import { completionScript } from "../completion-scripts.ts";
import { EXIT, type ExitCode } from "../failure.ts";

export async function run(
  { positionals }: Parsed<Options>,
  { output }: Context,
): Promise<ExitCode> {
  output.line(await completionScript("inmesh", positionals[0]!));
  return EXIT.ok;
}
