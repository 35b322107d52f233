/**
 * Reads the arguments of a command: Node's own `parseArgs` takes them apart, and the table of the command's
 * options, which help, completion and the reference page are made of too, says what they mean. Every mistake is
 * reported at once.
 */
import { parseArgs } from "node:util";
import { UsageFailure } from "./failure.ts";
import { parseDuration } from "./numbers.ts";

interface OptionText {
  /** One letter. */
  readonly short?: string;
  /** For help and the reference page. */
  readonly meaning: string;
  /** The environment variable that is read where the option is not given. */
  readonly env?: string;
}

/** What a value stands for in help, and where completion finds it. */
interface ValueText extends OptionText {
  readonly value: string;
  readonly completes?: "service" | "route" | "column" | "file" | "protocol" | undefined;
}

export type Option =
  | (OptionText & { readonly type: "flag" })
  | (ValueText & { readonly type: "text" | "duration" | "number" | "count" })
  | (ValueText & { readonly type: "texts" })
  | (ValueText & { readonly type: "choice"; readonly among: readonly string[] });

export type Options = Readonly<Record<string, Option>>;

export interface Positional {
  readonly name: string;
  readonly meaning: string;
  readonly optional?: true;
  /** It takes all that follow. */
  readonly repeated?: true;
  readonly completes?: "service" | "route" | "file" | "command" | "shell";
}

/** Durations are in milliseconds. A flag that is not given is false; another option is undefined. */
export type ValueOf<O extends Option> = O["type"] extends "flag"
  ? boolean
  : O["type"] extends "duration" | "number" | "count"
    ? number | undefined
    : O["type"] extends "texts"
      ? readonly string[]
      : O extends { readonly type: "choice"; readonly among: readonly (infer A)[] }
        ? A | undefined
        : string | undefined;

export type Values<O extends Options> = { readonly [K in keyof O]: ValueOf<O[K]> };

export interface Parsed<O extends Options> {
  readonly values: Values<O>;
  readonly positionals: readonly string[];
}

/** Names what was probably meant; core's, which is loaded only when there is a mistake. */
type Suggest = (name: string, known: readonly string[]) => string;

/** Throws a `UsageFailure`. */
export async function parse<O extends Options>(
  args: readonly string[],
  options: O,
  positionals: readonly Positional[],
): Promise<Parsed<O>> {
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries(Object.entries(options).map(nodeOption)),
    // What Node says of a mistake is a guess about dashes, and of the first one only.
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const mistakes: string[] = [];
  const values: Record<string, unknown> = Object.fromEntries(Object.entries(options).map(unset));
  const given: string[] = [];
  const unknown: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") given.push(token.value);
    if (token.kind !== "option") continue;
    const { name, rawName, value, inlineValue } = token;
    const option = Object.hasOwn(options, name) ? options[name] : undefined;
    if (option === undefined) unknown.push(rawName);
    else if (option.type === "flag") {
      if (value === undefined) values[name] = true;
      else mistakes.push(`${rawName} takes no value (got ${JSON.stringify(value)})`);
    } else if (value === undefined || (!inlineValue && /^-./.test(value))) {
      const dash =
        value === undefined ? "" : `; one that begins with a dash is written --${name}=${value}`;
      mistakes.push(`${rawName} needs a value, ${option.value}${dash}`);
    } else {
      const mistake = take(values, name, option, value);
      if (mistake !== undefined)
        mistakes.push(`${rawName} ${mistake} (got ${JSON.stringify(value)})`);
    }
  }
  if (unknown.length > 0) {
    const suggest = await loadSuggest();
    const known = Object.keys(options).map((name) => `--${name}`);
    for (const name of unknown) mistakes.push(`${name} ${suggest(name, known)}`);
  }
  // A value behind an option that is not known looks like an argument.
  if (unknown.length === 0) mistakes.push(...countMistakes(given, positionals));
  if (mistakes.length > 0 && values["help"] !== true) throw new UsageFailure(mistakes);
  return { values: values as Values<O>, positionals: given };
}

export async function loadSuggest(): Promise<Suggest> {
  const { unknownKeyRule } = await import("@inmesh/core/spi/transport");
  return unknownKeyRule;
}

function nodeOption([name, { type, short }]: [string, Option]): [
  string,
  { type: "boolean" | "string"; short?: string },
] {
  const of = type === "flag" ? "boolean" : "string";
  return [name, short === undefined ? { type: of } : { type: of, short }];
}

function unset([name, { type }]: [string, Option]): [string, unknown] {
  if (type === "flag") return [name, false];
  return [name, type === "texts" ? [] : undefined];
}

/** Puts the value where it belongs; gives what is wrong with it. */
function take(
  values: Record<string, unknown>,
  name: string,
  option: Exclude<Option, { type: "flag" }>,
  text: string,
): string | undefined {
  switch (option.type) {
    case "texts":
      (values[name] as string[]).push(text);
      return undefined;
    case "choice":
      values[name] = text;
      return option.among.includes(text) ? undefined : `must be one of ${option.among.join(", ")}`;
    case "duration":
      values[name] = parseDuration(text);
      return values[name] === undefined
        ? 'must be a duration with its unit, such as "500ms" or "1m30s"'
        : undefined;
    case "number":
      values[name] = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
      return Number.isNaN(values[name]) ? "must be a number" : undefined;
    case "count":
      values[name] = /^[1-9]\d{0,8}$/.test(text) ? Number(text) : Number.NaN;
      return Number.isNaN(values[name]) ? "must be a whole number from 1 on" : undefined;
    case "text":
      values[name] = text;
      return text === "" ? "must not be empty" : undefined;
  }
}

function countMistakes(given: readonly string[], positionals: readonly Positional[]): string[] {
  const mistakes: string[] = [];
  const required = positionals.filter(({ optional }) => optional !== true);
  for (const { name } of required.slice(given.length)) mistakes.push(`<${name}> is missing`);
  if (positionals.at(-1)?.repeated === true) return mistakes;
  for (const extra of given.slice(positionals.length)) {
    mistakes.push(`${JSON.stringify(extra)} is one argument too many`);
  }
  return mistakes;
}
