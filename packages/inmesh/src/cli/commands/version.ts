/** `inmesh version`: that of this program, and of the process if one is named. */
import { duration } from "@inmesh/core/inspect";
import type { About } from "@inmesh/core/inspect";
import { withAdmin } from "../admin.ts";
import type { Parsed } from "../arguments.ts";
import type { Context } from "../command.ts";
import { EXIT, type ExitCode } from "../failure.ts";
import type { CONNECTION, VERSION_OPTIONS } from "../options.ts";
import { namesProcess } from "../target.ts";
import { VERSION } from "../version.ts";

type Options = typeof CONNECTION & typeof VERSION_OPTIONS;

export async function run({ values }: Parsed<Options>, context: Context): Promise<ExitCode> {
  if (!namesProcess(values, context)) return print(values, undefined, context);
  return withAdmin(values, context, async (admin) =>
    print(values, await admin.get<About>("About", "about"), context),
  );
}

function print(
  values: Parsed<Options>["values"],
  about: About | undefined,
  { output }: Context,
): ExitCode {
  if (values.json) {
    output.json(
      {
        apiVersion: "inmesh.dev/v1",
        kind: "Version",
        inmesh: VERSION,
        runtime: process.version,
        about: about ?? null,
      },
      2,
    );
    return EXIT.ok;
  }
  output.line(`inmesh   ${VERSION}, on ${process.version}`);
  if (about !== undefined) {
    const { versions, process: of, state } = about;
    const text = `process  ${versions.inmesh}, on ${versions.runtime}; pid ${of.pid} on ${of.host}, ${state}, for ${duration(of.uptimeMs)}`;
    output.line(output.safe(text));
    if (about.runtimeProblem !== undefined)
      output.line(output.safe(`         ${about.runtimeProblem}`));
    for (const line of about.degraded) output.line(output.safe(`         degraded: ${line}`));
  }
  return EXIT.ok;
}
