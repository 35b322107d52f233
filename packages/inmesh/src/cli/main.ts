/**
 * `npx inmesh <command>`: finds the command in the table of commands.ts, reads its arguments, loads it and runs it.
 * Everything that goes wrong is printed (report.ts).
 */
import { parse, loadSuggest } from "./arguments.ts";
import type { Context, Run } from "./command.ts";
import { COMMANDS } from "./commands.ts";
import { EXIT, Failure, UsageFailure, type ExitCode } from "./failure.ts";
import { commandHelp, generalHelp, usageOf } from "./help.ts";
import { GENERAL } from "./options.ts";
import { report } from "./report.ts";
import { VERSION } from "./version.ts";

/** What completion scripts call; not for people. */
const COMPLETE = "__complete";

export async function main(args: readonly string[], context: Context): Promise<ExitCode> {
  const { output } = context;
  // Before the arguments are read, because they may be what is wrong.
  const beforeEnd = args.includes("--") ? args.slice(0, args.indexOf("--")) : args;
  if (beforeEnd.includes("--no-color")) output.withoutColour();
  try {
    return await dispatch(args, context);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    if (error.exit === EXIT.interrupted) return error.exit;
    const name = nameIn(args);
    const usage =
      name === undefined
        ? "Usage: inmesh <command> [options]"
        : usageOf(`inmesh ${name}`, COMMANDS[name]!);
    const more = `inmesh ${name === undefined ? "" : `${name} `}--help`;
    report(error, `${usage}\nMore: ${more}`, output, beforeEnd.includes("--debug"));
    return error.exit;
  }
}

async function dispatch(args: readonly string[], context: Context): Promise<ExitCode> {
  const { output } = context;
  const [name, ...rest] = args.filter((one, i) => i > 0 || one !== "--no-color");
  if (name === COMPLETE) {
    const { complete } = await import("./complete.ts");
    return complete(rest, context);
  }
  if (name === "--version" || name === "-v") {
    output.line(VERSION);
    return EXIT.ok;
  }
  const asksForHelp = name === "--help" || name === "-h" || name === "help";
  if (name === undefined) {
    output.error(generalHelp(output));
    return EXIT.usage;
  }
  if (asksForHelp && rest.length === 0) {
    output.line(generalHelp(output));
    return EXIT.ok;
  }
  // `inmesh help check` is `inmesh check --help`.
  return asksForHelp ? run(rest[0]!, ["--help"], context) : run(name, rest, context);
}

async function run(name: string, args: readonly string[], context: Context): Promise<ExitCode> {
  const { output } = context;
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) {
    const suggest = await loadSuggest();
    const rule = suggest(name, Object.keys(COMMANDS));
    throw new UsageFailure([`The command ${JSON.stringify(name)} ${rule}`]);
  }
  const options = { ...command.options, ...GENERAL };
  const parsed = await parse(args, options, command.positionals);
  if (parsed.values.help) {
    output.line(await commandHelp(name, command, output));
    return EXIT.ok;
  }
  const loaded = await command.load();
  return await (loaded.run as Run<typeof options>)(parsed, context);
}

function nameIn([name = ""]: readonly string[]): string | undefined {
  return Object.hasOwn(COMMANDS, name) ? name : undefined;
}
