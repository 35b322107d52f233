/**
 * `npx inmesh <command>`. A command is one file in this folder and one line in COMMANDS; it gets the
 * arguments behind its name and gives the exit code.
 */
import { unknownKeyRule } from "@inmesh/core/spi/transport";
import { check, CHECK_SUMMARY } from "./check.ts";
import { Output } from "./output.ts";

/** That of package.json, which a test compares. */
const VERSION = "0.1.0";

type Command = (args: readonly string[], output: Output) => number;

const COMMANDS: Readonly<Record<string, { readonly summary: string; readonly run: Command }>> = {
  check: { summary: CHECK_SUMMARY, run: check },
};

/** Exit codes of every command, as docs/reference/cli.md lists them. */
const EXIT_USAGE = 2;

function usage(): string {
  const lines = Object.entries(COMMANDS).map(
    ([name, { summary }]) => `  ${name.padEnd(8)}${summary}`,
  );
  return [
    "Usage: inmesh <command> [options]",
    "",
    "Commands:",
    ...lines,
    "",
    "inmesh <command> --help says more. inmesh --version prints the version.",
  ].join("\n");
}

export function main(args: readonly string[], output: Output): number {
  const [name, ...rest] = args;
  if (name === "--version" || name === "-v") {
    output.line(VERSION);
    return 0;
  }
  const asksForHelp = name === "--help" || name === "-h" || name === "help";
  if (asksForHelp && rest.length === 0) {
    output.line(usage());
    return 0;
  }
  // `inmesh help check` is `inmesh check --help`.
  if (asksForHelp) return run(rest[0]!, ["--help"], output);
  if (name !== undefined) return run(name, rest, output);
  output.error(usage());
  return EXIT_USAGE;
}

function run(name: string, args: readonly string[], output: Output): number {
  if (Object.hasOwn(COMMANDS, name)) return COMMANDS[name]!.run(args, output);
  const rule = unknownKeyRule(name, Object.keys(COMMANDS));
  output.error(`The command ${JSON.stringify(name)} ${rule}\n\n${usage()}`);
  return EXIT_USAGE;
}
