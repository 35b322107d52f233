/**
 * The options of a tap as text, in one place for the API and the command line, with the names of `TapOptions`:
 *
 *   service=orders status=5xx,429 minLatencyMs=100 header.x-tenant=7 path="/v1/with blank"
 *
 * A value with blanks or quotes stands in double quotes, where `\"` and `\\` are what they mean. Lists have
 * commas, or their name several times. The pairs of a URL's query are the same without quotes.
 */
import { ConfigError, makeMistake, type Mistake } from "../config/mistakes.ts";
import { formOf, tapMistakes, type TapOptions } from "./options.ts";

const ORIGIN = "filter";
const MAX_TEXT = 4_096;
const MAX_PAIRS = 100;
const FIELD = "header.";
/** One pair, with the blanks before it. */
const PAIR = /\s*([^\s="]+)=(?:"((?:[^"\\]|\\["\\])*)"|([^\s"]*))(?=\s|$)/y;

type Pair = readonly [name: string, value: string];

/** Throws ConfigError with every mistake. */
export function parseTapOptions(given: string | Iterable<Pair>): TapOptions {
  const mistakes: Mistake[] = [];
  const pairs = typeof given === "string" ? pairsOf(given, mistakes) : [...given];
  if (pairs.length > MAX_PAIRS) {
    mistakes.push(makeMistake([], `must have at most ${MAX_PAIRS} parts`, pairs.length, ORIGIN));
    pairs.length = MAX_PAIRS;
  }
  const options = new Map<string, unknown>();
  for (const pair of pairs) add(options, pair, mistakes);
  const read = Object.fromEntries(options);
  mistakes.push(...tapMistakes(read, ORIGIN));
  if (mistakes.length > 0) throw new ConfigError(mistakes, "tap");
  return read;
}

function pairsOf(text: string, mistakes: Mistake[]): Pair[] {
  const pairs: Pair[] = [];
  if (text.length > MAX_TEXT) {
    mistakes.push(makeMistake([], `must have at most ${MAX_TEXT} characters`, text, ORIGIN));
    return pairs;
  }
  const end = text.trimEnd().length;
  let at = 0;
  while (at < end) {
    PAIR.lastIndex = at;
    const [whole, name, quoted, plain] = PAIR.exec(text) ?? [];
    if (whole === undefined) {
      const rest = text.slice(at).trimStart();
      const bad = /^\S+/.exec(rest)![0];
      mistakes.push(makeMistake([], 'must be name=value or name="a value"', bad, ORIGIN));
      at = text.length - rest.length + bad.length;
      continue;
    }
    pairs.push([name!, quoted === undefined ? plain! : quoted.replaceAll(/\\(["\\])/g, "$1")]);
    at += whole.length;
  }
  return pairs;
}

function add(options: Map<string, unknown>, [name, value]: Pair, mistakes: Mistake[]): void {
  if (name.startsWith(FIELD)) return addField(options, name.slice(FIELD.length), value);
  const form = name === "header" ? undefined : formOf(name);
  if (name === "header") {
    mistakes.push(makeMistake([name], "must be written as header.x-name=value", value, ORIGIN));
  } else if (form === "list") {
    const before = (options.get(name) ?? []) as unknown[];
    const all = value.split(",").map((one) => (name === "status" ? numberOf(one) : one));
    options.set(name, [...before, ...all]);
  } else if (options.has(name)) {
    mistakes.push(makeMistake([name], "must be there once", value, ORIGIN));
  } else if (form === "number") options.set(name, numberOf(value));
  else if (form === "flag") options.set(name, flagOf(value));
  else options.set(name, value);
}

function addField(options: Map<string, unknown>, name: string, value: string): void {
  const before = (options.get("header") ?? {}) as Readonly<Record<string, string>>;
  options.set("header", Object.fromEntries([...Object.entries(before), [name, value]]));
}

/** What is no number stays what it is, for the mistake that says so. */
function numberOf(text: string): unknown {
  return /^\d+(?:\.\d+)?$/.test(text) ? Number(text) : text;
}

function flagOf(text: string): unknown {
  return text === "true" ? true : text === "false" ? false : text;
}
