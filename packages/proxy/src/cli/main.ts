/** `npx mesh-proxy`: reads its arguments and does what they ask for. Everything that goes wrong is printed here. */
import {
  candidatesOf,
  completionScript,
  EXIT,
  Failure,
  GENERAL,
  helpOf,
  parse,
  printCandidates,
  report,
  usageOf,
  VERSION,
  UsageFailure,
  type Candidate,
  type Completes,
  type Context,
  type ExitCode,
} from "inmesh/cli";
import { COMMAND, EXIT_TEXTS, OPTIONS } from "./options.ts";

/** What may stand before an address. Which ones there are on this machine a person knows best. */
async function named(what: Completes): Promise<readonly Candidate[]> {
  if (what !== "protocol") return [];
  const { SPOKEN } = await import("./settings.ts");
  return SPOKEN.map((one): Candidate => [`${one}://`]);
}

/** What completion scripts call; not for people. */
const COMPLETE = "__complete";
const NAME = "mesh-proxy";
/** The argument of `mesh-proxy completion`. */
const SHELL = { name: "shell", meaning: "Whose script it is.", completes: "shell" } as const;
const ALL = { ...OPTIONS, ...GENERAL } as const;

export async function main(args: readonly string[], context: Context): Promise<ExitCode> {
  const { output } = context;
  // Before the arguments are read, because they may be what is wrong.
  if (args.includes("--no-color")) output.withoutColour();
  try {
    return await dispatch(args, context);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const usage = `${usageOf(NAME, COMMAND)}\nMore: ${NAME} --help`;
    report(error, usage, output, args.includes("--debug"));
    return error.exit;
  }
}

async function dispatch(args: readonly string[], context: Context): Promise<ExitCode> {
  const { output } = context;
  const [first, ...rest] = args;
  if (first === COMPLETE) {
    const current = rest.at(-1) ?? "";
    const words = rest.slice(0, -1);
    const found =
      words[0] === "completion"
        ? await candidatesOf([SHELL], {}, words.slice(1), current, named)
        : await candidatesOf([], ALL, words, current, named);
    printCandidates(found, current, output);
    return EXIT.ok;
  }
  if (first === "completion") {
    if (rest.length !== 1) {
      throw new UsageFailure(["Which shell? For example: mesh-proxy completion bash"]);
    }
    output.line(await completionScript(NAME, rest[0]!));
    return EXIT.ok;
  }
  const { values } = await parse(args, ALL, []);
  if (values.help) {
    output.line(helpOf(NAME, COMMAND, output, EXIT_TEXTS));
    return EXIT.ok;
  }
  if (values.version) {
    output.line(VERSION);
    return EXIT.ok;
  }
  const { settingsOf } = await import("./settings.ts");
  const settings = settingsOf(values, context.env);
  const { check, printed } = await import("./look.ts");
  if (values.check) return check(settings, context);
  if (values["print-config"]) return printed(settings, context);
  const { serve } = await import("./serve.ts");
  return await serve(settings, context);
}
