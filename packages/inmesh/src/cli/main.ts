/**
 * `npx inmesh <command>`. A command is one file in this folder and one line in COMMANDS; it gets the
 * arguments behind its name and gives the exit code.
 */
import { check, CHECK_SUMMARY } from "./check.ts";
import { Output } from "./output.ts";

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
    "inmesh <command> --help says more.",
  ].join("\n");
}

export function main(args: readonly string[], output: Output): number {
  const [name, ...rest] = args;
  if (name === "--help" || name === "-h" || name === "help") {
    output.line(usage());
    return 0;
  }
  const command = name !== undefined && Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command !== undefined) return command.run(rest, output);
  output.error(
    name === undefined ? usage() : `There is no command ${JSON.stringify(name)}.\n\n${usage()}`,
  );
  return EXIT_USAGE;
}
