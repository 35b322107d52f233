/**
 * Options that code gives: to `createMesh`, to servers, to clients. Unknown names and values of another
 * kind are mistakes, and all of them are named at once. Called when something is made, never by a call.
 */
import { unknownKeyRule } from "./did-you-mean.ts";
import { groupOf, millisecondNames, nameOf } from "./field.ts";
import { FIELDS } from "./fields.ts";
import type { ServiceInput } from "./input.ts";
import { ConfigError, makeMistake, type Mistake } from "./mistakes.ts";
import { isRaw } from "./plain.ts";

/** What an option may be. `any`: what uses it says more precisely what is wrong with it. */
export type OptionKind =
  | "text"
  | "function"
  | "object"
  | "list"
  | "boolean"
  | "milliseconds"
  | "count"
  | "any";

/** Every option of an interface; the compiler refuses a table that lacks one. */
export type OptionKinds<T> = Readonly<Record<keyof T & string, OptionKind>>;

/** What else to say about a name, known or not: `belongs into config: …`. */
export type OptionHints = Readonly<Record<string, string>>;

const KINDS: Readonly<
  Record<OptionKind, readonly [text: string, fits: (value: unknown) => boolean]>
> = {
  text: ["a text", (value) => typeof value === "string"],
  function: ["a function", (value) => typeof value === "function"],
  object: ["an object", isRaw],
  list: ["a list", Array.isArray],
  boolean: ["true or false", (value) => typeof value === "boolean"],
  milliseconds: [
    "a number of milliseconds from 0 up",
    (value) => typeof value === "number" && value >= 0,
  ],
  count: ["a whole number from 0 up", (value) => Number.isInteger(value) && Number(value) >= 0],
  any: ["", () => true],
};

/** `owner`: the function that got them, such as `createMesh`. */
export function optionMistakes<T>(
  owner: string,
  given: unknown,
  kinds: OptionKinds<T>,
  hints: OptionHints = {},
): Mistake[] {
  if (!isRaw(given)) return [makeMistake(["options"], "must be an object", given, owner)];
  const mistakes: Mistake[] = [];
  const known: Readonly<Record<string, OptionKind>> = kinds;
  for (const name of Object.keys(given)) {
    const value = given[name];
    // In code, `undefined` is how an option is left out.
    if (value === undefined) continue;
    const hint = Object.hasOwn(hints, name) ? hints[name] : undefined;
    if (!Object.hasOwn(known, name)) {
      const rule =
        hint === undefined ? unknownKeyRule(name, Object.keys(known)) : `is not known; ${hint}`;
      mistakes.push(makeMistake([name], rule, value, owner));
      continue;
    }
    const [text, fits] = KINDS[known[name]!];
    if (fits(value)) continue;
    const rule = hint === undefined ? `must be ${text}` : `must be ${text}; ${hint}`;
    mistakes.push(makeMistake([name], rule, value, owner));
  }
  return mistakes;
}

/** The same for servers, whose options are no configuration. Throws a TypeError that names every mistake. */
export function assertOptions<T>(
  owner: string,
  given: unknown,
  kinds: OptionKinds<T>,
  hints?: OptionHints,
): void {
  const mistakes = optionMistakes(owner, given, kinds, hints);
  if (mistakes.length === 0) return;
  const lines = mistakes.map(({ path, rule, value }) => {
    const got = value === "" ? "" : ` (got ${value})`;
    return `${owner}: ${path} ${rule}${got}`;
  });
  throw new TypeError(lines.join("\n"));
}

/** What every client's options may say of its service. */
const SERVICE_OPTIONS: OptionKinds<ServiceInput> = Object.fromEntries(
  FIELDS.flatMap((field) => {
    const isPolicy = field.parsed !== undefined;
    if (isPolicy)
      return [
        groupOf(field) ?? nameOf(field),
        ...(groupOf(field) === undefined ? millisecondNames(field) : []),
      ];
    return /^services\.\*\.(\w+)$/.exec(field.path)?.[1] ?? [];
  }).map((name) => [name, "any"]),
) as OptionKinds<ServiceInput>;

/**
 * Of a client of a service: its own options, and those of the service, whose values are looked at with
 * the configuration. Throws ConfigError.
 */
export function assertClientOptions<T extends ServiceInput>(
  owner: string,
  given: unknown,
  own: OptionKinds<Omit<T, keyof ServiceInput>>,
): void {
  const mistakes = optionMistakes(
    owner,
    given,
    { ...own, ...SERVICE_OPTIONS },
    {
      log: "belongs into createMesh({ log })",
      timeout: 'did you mean "timeouts: { requestMs }", or timeoutMs of a single call?',
      timeoutMs: 'did you mean "timeouts: { requestMs }", or timeoutMs of a single call?',
      baseUrl: `give the URL itself: ${owner}("http://orders:8080")`,
      baseURL: `give the URL itself: ${owner}("http://orders:8080")`,
    },
  );
  const mesh = isRaw(given) ? given["mesh"] : undefined;
  if (mesh !== undefined && (!isRaw(mesh) || typeof mesh["service"] !== "function")) {
    mistakes.push(makeMistake(["mesh"], "must be what createMesh returned", mesh, owner));
  }
  if (mistakes.length > 0) throw new ConfigError(mistakes);
}

/**
 * Of the time that a close or drain may take. A text such as "25s" would be compared as NaN, which is no time
 * at all: every request in progress would be cut off. Below 0 is none left, as after a subtraction.
 */
export function graceMistake(
  owner: string,
  graceMs: unknown,
  name: string = "graceMs",
): TypeError | undefined {
  if (typeof graceMs === "number" && !Number.isNaN(graceMs)) return undefined;
  const got = typeof graceMs === "string" ? JSON.stringify(graceMs.slice(0, 64)) : String(graceMs);
  return new TypeError(`${owner}: ${name} must be a number of milliseconds, got ${got}`);
}

/** A service is asked for by its name or by a URL. Throws ConfigError that says what was given instead. */
export function assertNameOrUrl(given: unknown): void {
  if ((typeof given === "string" && given !== "") || given instanceof URL) return;
  const isMissing = given === undefined || given === null || given === "";
  const shown = given === "" ? "an empty text" : String(given);
  const rule = isMissing
    ? `must be the name or URL of a service, and is ${shown}; is the variable that it is read from set?`
    : "must be the name or URL of a service";
  const value = isMissing ? undefined : given;
  throw new ConfigError([makeMistake(["nameOrUrl"], rule, value, "code")]);
}
