/** `inmesh check`: files, or the checks that a running process makes of itself. */
import type { Check, Checks, CheckStatus } from "@inmesh/core/inspect";
import { withAdmin, type Admin } from "../admin.ts";
import type { Parsed } from "../arguments.ts";
import { pause } from "../clock.ts";
import type { Context } from "../command.ts";
import { EXIT, Failure, mayCome, UsageFailure, type ExitCode } from "../failure.ts";
import { counted } from "../numbers.ts";
import type { CHECK, CONNECTION } from "../options.ts";
import type { Output, Style, SymbolName } from "../output.ts";
import { namesProcess } from "../target.ts";

type Options = typeof CONNECTION & typeof CHECK;
type Values = Parsed<Options>["values"];

const POLL_MS = 1000;
const DOCS = "https://github.com/inmesh/inmesh/blob/main/";

export async function run(
  { values, positionals: files }: Parsed<Options>,
  context: Context,
): Promise<ExitCode> {
  const json = values.json || values.output === "json";
  const isOfFiles = files.length > 0 || values.env;
  const mistakes: string[] = [];
  if (values.json && values.output !== undefined && values.output !== "json") {
    mistakes.push(`--json and -o ${values.output} exclude each other`);
  }
  if (isOfFiles) {
    for (const name of ["admin", "wait", "fail-on"] as const) {
      if (values[name] !== undefined)
        mistakes.push(`--${name} is for the checks of a process, and files are named`);
    }
    if (values.verbose)
      mistakes.push("--verbose is for the checks of a process, and files are named");
    if (values.output === "short")
      mistakes.push("-o short is for the checks of a process, and files are named");
  } else if (values.discovery.length > 0)
    mistakes.push("--discovery is for files, and none is named");
  if (!isOfFiles && !namesProcess(values, context) && !(await hasLocal(context))) {
    mistakes.push(
      "Which file? For example: inmesh check mesh.yaml. Or which process? For example: inmesh check --admin unix:/run/shop/mesh.sock",
    );
  }
  if (mistakes.length > 0) throw new UsageFailure(mistakes);
  if (!isOfFiles) return checkProcess(values, json, context);
  const { checkFiles } = await import("./check-files.ts");
  return checkFiles(files, { withEnv: values.env, kinds: values.discovery, json }, context);
}

async function hasLocal(context: Context): Promise<boolean> {
  const { localProcesses } = await import("../local.ts");
  return (await localProcesses(context)).processes.length > 0;
}

async function checkProcess(values: Values, json: boolean, context: Context): Promise<ExitCode> {
  const { output, clock, signal } = context;
  const endsAt = clock.now() + (values.wait ?? 0);
  const failOn = values["fail-on"] ?? "failure";
  const isTimeLeft = (): boolean => clock.now() + POLL_MS < endsAt;
  return withAdmin(values, context, async (admin) => {
    for (;;) {
      const answer = await asked(admin, isTimeLeft());
      const failed = answer instanceof Failure || isFailed(answer, failOn);
      if (failed && isTimeLeft()) {
        const what = answer instanceof Failure ? output.safe(answer.message) : summary(answer);
        output.error(`${what}; checking again`);
        await pause(clock, POLL_MS, signal);
        if (signal.aborted) return EXIT.interrupted;
        continue;
      }
      if (answer instanceof Failure) throw answer;
      if (json) output.json(answer, 2);
      else print(answer, values, output);
      return failed ? EXIT.failed : EXIT.ok;
    }
  });
}

/** A process that is about to start cannot be reached yet: while there is time left, that is an answer too. */
async function asked(admin: Admin, isTimeLeft: boolean): Promise<Checks | Failure> {
  try {
    return await admin.get<Checks>("Checks", "checks");
  } catch (error) {
    if (isTimeLeft && mayCome(error)) return error;
    throw error;
  }
}

function isFailed({ status }: Checks, failOn: "warning" | "failure"): boolean {
  return status === "failure" || (failOn === "warning" && status === "warning");
}

const SHOWN: Readonly<Record<CheckStatus, { readonly symbol: SymbolName; readonly style: Style }>> =
  {
    ok: { symbol: "ok", style: "green" },
    warning: { symbol: "warning", style: "yellow" },
    failure: { symbol: "failed", style: "red" },
  };

/** What does not hold comes with its reason, and what holds as a number: a list of what is well hides the rest. */
function print(answer: Checks, { verbose, output: format }: Values, output: Output): void {
  const holding = answer.checks.filter(({ status }) => status === "ok");
  const shown = verbose ? answer.checks : answer.checks.filter(({ status }) => status !== "ok");
  if (!verbose && format !== "short" && holding.length > 0) {
    const { symbol, style } = SHOWN.ok;
    const text = `${counted(holding.length, "check")} ${holding.length === 1 ? "holds" : "hold"}: ${groupsOf(holding)}`;
    const mark = output.symbol(symbol);
    const lines = output.wrap(output.safe(text), mark.length + 1);
    output.line(output.paint(style, mark) + lines.slice(mark.length));
    if (shown.length > 0) output.line("");
  }
  let group: string | undefined;
  for (const check of shown) {
    if (check.group !== group) {
      if (group !== undefined) output.line("");
      output.line(output.paint("bold", output.safe(check.group)));
      group = check.group;
    }
    printOne(check, output);
  }
  if (shown.length > 0 || (format !== "short" && holding.length > 0)) output.line("");
  output.line(`Status: ${summary(answer)}`);
  // The package has no documentation in it.
  if (answer.status !== "ok") output.note(`the pages that are named here are below ${DOCS}`);
}

/** `runtime 1, services 2` */
function groupsOf(checks: readonly Check[]): string {
  const counts = new Map<string, number>();
  for (const { group } of checks) counts.set(group, (counts.get(group) ?? 0) + 1);
  return [...counts].map(([group, count]) => `${group} ${count}`).join(", ");
}

function printOne({ status, subject, message, hint, page }: Check, output: Output): void {
  const { symbol, style } = SHOWN[status] ?? SHOWN.warning;
  const mark = output.symbol(symbol);
  const text =
    subject === undefined || message.includes(subject) ? message : `${subject}: ${message}`;
  // Of mistakes in a configuration there is a line for each.
  const [first = "", ...more] = text.split("\n");
  const lines = output.wrap(output.safe(first), mark.length + 1);
  output.line(output.paint(style, mark) + lines.slice(mark.length));
  const below = [...more, ...(hint?.split("\n") ?? [])];
  for (const line of below) output.line(output.wrap(output.safe(line.trim()), 4));
  if (status !== "ok") output.line(output.paint("dim", `    see ${output.safe(page)}`));
}

function summary({ checks, failures, warnings }: Checks): string {
  if (failures === 0 && warnings === 0) return `${counted(checks.length, "check")}, all good`;
  return `${failures} failed, ${counted(warnings, "warning")}`;
}
