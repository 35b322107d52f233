/** What `--help` prints, made of the table of commands. */
import type { Option } from "./arguments.ts";
import type { AnyCommand, CommandText } from "./command.ts";
import { COMMANDS } from "./commands.ts";
import { EXIT } from "./failure.ts";
import { GENERAL } from "./options.ts";
import type { Output } from "./output.ts";

export function generalHelp(output: Output): string {
  const lines = Object.entries(COMMANDS).map(([name, { summary }]) =>
    entry(name, summary, 12, output),
  );
  return [
    "Usage: inmesh <command> [options]",
    "",
    "Commands:",
    ...lines,
    "",
    output.wrap(
      "Commands about a process ask the only one of this user whose API is open on this machine; --admin, or INMESH_ADMIN in the environment, names another. inmesh <command> --help says more. inmesh --version prints the version.",
      0,
    ),
  ].join("\n");
}

/** `invocation`: what is typed before its arguments, such as `inmesh check`. */
export function usageOf(invocation: string, { positionals, options }: CommandText): string {
  const words = positionals.map(({ name: of, optional, repeated }) => {
    const word = `<${of}>${repeated === true ? "..." : ""}`;
    return optional === true ? `[${word}]` : word;
  });
  const has = Object.keys(options).length > 0;
  return [`Usage: ${invocation}`, ...words, ...(has ? ["[options]"] : [])].join(" ");
}

export async function commandHelp(
  name: string,
  command: AnyCommand,
  output: Output,
): Promise<string> {
  const hasColumns = "sort" in command.options;
  const columns = hasColumns ? ((await import("./columns.ts")).COLUMNS[name] ?? []) : undefined;
  return helpOf(`inmesh ${name}`, command, output, EXIT_TEXTS, columns);
}

/** The texts of exit codes that it does not use are left out. */
export function helpOf(
  invocation: string,
  command: CommandText,
  output: Output,
  exits: ExitTexts,
  columns?: readonly { readonly name: string; readonly wide?: true }[],
): string {
  const { summary, positionals, options, more, examples } = command;
  const all: [string, Option][] = [...Object.entries(options), ...Object.entries(GENERAL)];
  const lines = [usageOf(invocation, command), "", output.wrap(sentence(summary), 0)];
  if (more !== undefined) lines.push("", output.wrap(more, 0));
  if (positionals.length > 0) {
    lines.push("", "Arguments:");
    for (const one of positionals) lines.push(entry(`<${one.name}>`, one.meaning, 28, output));
  }
  lines.push("", "Options:");
  for (const [of, option] of all)
    lines.push(entry(synopsis(of, option), meaningOf(option), 28, output));
  if (columns !== undefined) {
    const names = (wide: boolean): string =>
      columns
        .filter((one) => (one.wide === true) === wide)
        .map((one) => one.name)
        .join(", ");
    lines.push("", output.wrap(`Columns: ${names(false)}.`, 0));
    if (names(true) !== "") lines.push(output.wrap(`With -o wide also: ${names(true)}.`, 0));
  }
  if (examples.length > 0) {
    lines.push("", "Examples:");
    for (const { line, meaning } of examples) lines.push(`  ${line}`, `      ${meaning}`);
  }
  lines.push("", output.wrap(`Exit codes: ${exitLine(exits)}.`, 0));
  return lines.join("\n");
}

/** `-o, --output <format>`. */
export function synopsis(name: string, option: Option): string {
  const short = option.short === undefined ? "    " : `-${option.short}, `;
  return `${short}--${name}${option.type === "flag" ? "" : ` ${option.value}`}`;
}

function meaningOf({ meaning, env }: Option): string {
  return env === undefined ? meaning : `${meaning} Environment: ${env}.`;
}

function sentence(text: string): string {
  const end = /[.?!]$/.test(text) ? "" : ".";
  return text[0]!.toUpperCase() + text.slice(1) + end;
}

/** A word on the left and its sentence beside it, or below where the word is long. */
function entry(word: string, text: string, column: number, output: Output): string {
  const wrapped = output.wrap(text, column + 2);
  const head = `  ${word}`;
  return head.length < column + 1 ? head + wrapped.slice(head.length) : `${head}\n${wrapped}`;
}

export type ExitTexts = Readonly<Partial<Record<keyof typeof EXIT, string>>>;

export const EXIT_TEXTS: Readonly<Record<keyof typeof EXIT, string>> = {
  ok: "ok",
  failed: "a check failed",
  usage: "the command is wrong",
  unreachable: "the process cannot be reached",
  denied: "denied",
  timeout: "no answer in time",
  conflict: "conflict",
  defect: "a defect of inmesh, or a Node that is too old",
  interrupted: "interrupted",
};

function exitLine(texts: ExitTexts): string {
  const names = Object.keys(EXIT) as (keyof typeof EXIT)[];
  const known = names.filter((name) => texts[name] !== undefined);
  return known.map((name) => `${EXIT[name]} ${texts[name]}`).join(", ");
}
