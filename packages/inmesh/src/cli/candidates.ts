/** What may come next behind a command, from its options and arguments: for completion by a shell. */
import type { Option, Options, Positional } from "./arguments.ts";
import type { Output } from "./output.ts";

export type Candidate = readonly [word: string, meaning?: string];
export type Completes = Positional["completes"] | "column" | "protocol";

/** The scripts let the shell complete files then. */
const FILES = ":file";
const SHELLS = ["bash", "zsh", "fish"];

export function printCandidates(
  candidates: readonly Candidate[],
  current: string,
  output: Output,
): void {
  for (const [word, meaning] of candidates) {
    // What a shell would have to quote is not offered: it might be a command of the one who named the service.
    if (word !== FILES && !/^[\w@%+=:,./-]+$/.test(word)) continue;
    if (word !== FILES && !word.startsWith(current)) continue;
    output.line(meaning === undefined ? word : `${word}\t${output.safe(meaning)}`);
  }
}

/** `words` stand between the command and the cursor. `named`: what only a process or a table knows. */
export async function candidatesOf(
  positionals: readonly Positional[],
  options: Options,
  words: readonly string[],
  current: string,
  named: (what: Completes) => Promise<readonly Candidate[]> | readonly Candidate[],
): Promise<readonly Candidate[]> {
  const find = (what: Completes): Promise<readonly Candidate[]> | readonly Candidate[] => {
    if (what === "file") return [[FILES]];
    if (what === "shell") return SHELLS.map((one): Candidate => [one]);
    return named(what);
  };
  const last = words.at(-1);
  const awaited = last === undefined ? undefined : optionOf(last, options);
  if (awaited !== undefined && awaited.type !== "flag") {
    if (awaited.type === "choice") return awaited.among.map((one): Candidate => [one]);
    return find(awaited.completes);
  }
  if (current.startsWith("-")) {
    return Object.entries(options).map(([of, { meaning }]): Candidate => [
      `--${of}`,
      firstSentence(meaning),
    ]);
  }
  const given = countPositionals(words, options);
  const positional: Positional | undefined = positionals[given] ?? positionals.at(-1);
  if (positional === undefined) return [];
  if (given >= positionals.length && positional.repeated !== true) return [];
  return find(positional.completes);
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

export function firstSentence(text: string): string {
  return /^.*?[.:;](?=\s|$)/.exec(text)?.[0].slice(0, -1) ?? text;
}
