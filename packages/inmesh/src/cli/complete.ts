/**
 * What may come next on a command line, for the scripts of `inmesh completion`. Commands and options come from the
 * table; names of services and routes from the process that would be asked, if it answers at once.
 */
import type { Services } from "@inmesh/core/inspect";
import type { Options } from "./arguments.ts";
import {
  candidatesOf,
  firstSentence,
  printCandidates,
  type Candidate,
  type Completes,
} from "./candidates.ts";
import type { Context } from "./command.ts";
import { COMMANDS } from "./commands.ts";
import { EXIT, Failure, type ExitCode } from "./failure.ts";
import { CONNECTION, GENERAL } from "./options.ts";
import type { ConnectionValues } from "./target.ts";

/** A list after the tab key is of no use later. */
const TIMEOUT_MS = 500;

/** `words` are those behind `inmesh`, the last one is the one at the cursor. */
export async function complete(words: readonly string[], context: Context): Promise<ExitCode> {
  const current = words.at(-1) ?? "";
  printCandidates(await candidates(words.slice(0, -1), current, context), current, context.output);
  return EXIT.ok;
}

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
  return candidatesOf(command.positionals, options, rest, current, (what) =>
    what === "column" ? columnsOf(name) : named(what, rest, options, context),
  );
}

async function columnsOf(command: string): Promise<readonly Candidate[]> {
  const { COLUMNS } = await import("./columns.ts");
  return (COLUMNS[command] ?? []).map(({ name, meaning }): Candidate => [
    name,
    firstSentence(meaning),
  ]);
}

async function named(
  what: Completes,
  words: readonly string[],
  options: Options,
  context: Context,
): Promise<readonly Candidate[]> {
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
  try {
    const { withAdmin } = await import("./admin.ts");
    return await withAdmin(values, context, (admin) => admin.get<Services>("Services", "services"));
  } catch (error) {
    if (error instanceof Failure) return nothing;
    throw error;
  }
}
