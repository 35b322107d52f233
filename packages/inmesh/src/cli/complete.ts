/**
 * What may come next on a command line, for the scripts of `inmesh completion`. Commands and options come from the
 * table; names of services and routes from the process that the line or the environment names, if it answers at once.
 */
import type { Services } from "@inmesh/core/inspect";
import type { Option, Options, Positional } from "./arguments.ts";
import type { Context } from "./command.ts";
import { COMMANDS } from "./commands.ts";
import { EXIT, Failure, type ExitCode } from "./failure.ts";
import { CONNECTION, GENERAL } from "./options.ts";
import { namesProcess, type ConnectionValues } from "./target.ts";

/** A list after the tab key is of no use later. */
const TIMEOUT_MS = 500;
/** The scripts let the shell complete files then. */
const FILES = ":file";
const SHELLS = ["bash", "zsh", "fish"];

/** `words` are those behind `inmesh`, the last one is the one at the cursor. */
export async function complete(words: readonly string[], context: Context): Promise<ExitCode> {
  const { output } = context;
  const current = words.at(-1) ?? "";
  for (const line of await candidates(words.slice(0, -1), current, context)) {
    const [word, meaning] = line;
    // What a shell would have to quote is not offered: it might be a command of the one who named the service.
    if (word !== FILES && !/^[\w@%+=:,./-]+$/.test(word)) continue;
    if (word !== FILES && !word.startsWith(current)) continue;
    output.line(meaning === undefined ? word : `${word}\t${output.safe(meaning)}`);
  }
  return EXIT.ok;
}

type Candidate = readonly [word: string, meaning?: string];

async function candidates(
  before: readonly string[],
  current: string,
  context: Context,
): Promise<readonly Candidate[]> {
  const [name, ...rest] = before;
  if (name === undefined || (name === "help" && rest.length === 0)) {
    const commands = Object.entries(COMMANDS).map(([of, { summary }]): Candidate => [of, summary]);
    return name === "help"
      ? commands
      : [...commands, ["help", "how a command is used"], ["--help"], ["--version"]];
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) return [];
  const options: Options = { ...command.options, ...GENERAL };
  const last = rest.at(-1);
  const awaited = last === undefined ? undefined : optionOf(last, options);
  if (awaited !== undefined && awaited.type !== "flag") {
    if (awaited.type === "choice") return awaited.among.map((one): Candidate => [one]);
    return awaited.completes === "column"
      ? columnsOf(name)
      : named(awaited.completes, rest, options, context);
  }
  if (current.startsWith("-")) {
    return Object.entries(options).map(([of, { meaning }]): Candidate => [
      `--${of}`,
      firstSentence(meaning),
    ]);
  }
  const given = countPositionals(rest, options);
  const positional: Positional | undefined =
    command.positionals[given] ?? command.positionals.at(-1);
  if (positional === undefined) return [];
  if (given >= command.positionals.length && positional.repeated !== true) return [];
  return named(positional.completes, rest, options, context);
}

function optionOf(word: string, options: Options): Option | undefined {
  if (word.startsWith("--")) {
    const name = word.slice(2);
    return Object.hasOwn(options, name) ? options[name] : undefined;
  }
  return Object.values(options).find(({ short }) => short !== undefined && word === `-${short}`);
}

function countPositionals(words: readonly string[], options: Options): number {
  let count = 0;
  for (let i = 0; i < words.length; i++) {
    const option = words[i]!.startsWith("-") ? optionOf(words[i]!, options) : undefined;
    if (option !== undefined && option.type !== "flag") i++;
    else if (!words[i]!.startsWith("-")) count++;
  }
  return count;
}

async function columnsOf(command: string): Promise<readonly Candidate[]> {
  const { COLUMNS } = await import("./columns.ts");
  return (COLUMNS[command] ?? []).map(({ name, meaning }): Candidate => [
    name,
    firstSentence(meaning),
  ]);
}

async function named(
  what: Positional["completes"] | "column",
  words: readonly string[],
  options: Options,
  context: Context,
): Promise<readonly Candidate[]> {
  if (what === "file") return [[FILES]];
  if (what === "shell") return SHELLS.map((one): Candidate => [one]);
  if (what !== "service" && what !== "route") return [];
  const { services, servers } = await live(words, options, context);
  const names =
    what === "route"
      ? services.flatMap(({ routes }) => routes.map(({ name }) => name))
      : [...services, ...servers].map(({ name }) => name);
  return [...new Set(names)].map((one): Candidate => [one]);
}

type Live = Pick<Services, "services" | "servers">;

/** Nothing where there is no answer: an error has no place on a line that is being written. */
async function live(words: readonly string[], options: Options, context: Context): Promise<Live> {
  const nothing = { services: [], servers: [] };
  const given: Record<string, string | undefined> = {};
  for (const [i, word] of words.entries()) {
    const [, name = "", inline] = /^--([\w-]+)(?:=(.*))?$/.exec(word) ?? [];
    if (Object.hasOwn(CONNECTION, name) && Object.hasOwn(options, name))
      given[name] = inline ?? words[i + 1];
  }
  const values: ConnectionValues = {
    admin: given["admin"],
    token: given["token"],
    "token-file": given["token-file"],
    timeout: TIMEOUT_MS,
  };
  if (!namesProcess(values, context)) return nothing;
  try {
    const { withAdmin } = await import("./admin.ts");
    return await withAdmin(values, context, (admin) => admin.get<Services>("Services", "services"));
  } catch (error) {
    if (error instanceof Failure) return nothing;
    throw error;
  }
}

function firstSentence(text: string): string {
  return /^.*?[.:;](?=\s|$)/.exec(text)?.[0].slice(0, -1) ?? text;
}
