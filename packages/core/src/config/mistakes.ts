/**
 * What is wrong with a configuration, said so that the reader can repair it: where, which rule, and
 * the value met. Values are rendered once, here, so that no secret and no control character leaks.
 */
import { MeshError } from "../errors.ts";
import { isSecretName } from "../secret-names.ts";

export interface Mistake {
  /** `services.orders.retry.attempts`. */
  readonly path: string;
  /** `must be at least 1`. */
  readonly rule: string;
  /** The value as text: at most 80 characters, control characters escaped, secrets left out. */
  readonly value: string;
  /** `file:/etc/mesh.yaml`, `env:INMESH_SERVICE_ORDERS`, `code`. */
  readonly origin: string;
  /** Line in the file, from 1, where it is known. */
  readonly line?: number;
}

export type PathPart = string | number;

const MAX_VALUE = 80;
const MAX_LINES = 100;
/** Under these keys of a configuration the names are the application's, and so is what it hides. */
const OWN_NAMES = /^(?:metadata|headers|queryParams|re(?:quest|sponse)HeaderModifier)$/;
const USERINFO = /\/\/[^/?#\s]*@/g;
const PLAIN_KEY = /^[A-Za-z0-9_*-]+$/;
const UNPRINTABLE = /[\p{Cc}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

/** The configuration was refused; `mistakes` names every one. The last good version stays. */
export class ConfigError extends MeshError {
  readonly mistakes: readonly Mistake[];

  /** `what`: what was refused. Default: the configuration. */
  constructor(mistakes: readonly Mistake[], what?: string) {
    super({
      code: "bad_config",
      reason: "invalid",
      progress: "not-sent",
      message: describeMistakes(mistakes, what),
    });
    this.mistakes = mistakes;
  }
}

/** One line for each mistake, below a line that counts them. */
export function describeMistakes(
  mistakes: readonly Mistake[],
  what: string = "configuration",
): string {
  const count = mistakes.length === 1 ? "1 mistake" : `${mistakes.length} mistakes`;
  const lines = mistakes.slice(0, MAX_LINES).map(describeMistake);
  if (mistakes.length > MAX_LINES) lines.push(`  … and ${mistakes.length - MAX_LINES} more`);
  return [`${what} refused, ${count}:`, ...lines].join("\n");
}

function describeMistake(mistake: Mistake): string {
  const line = mistake.line === undefined ? "" : `:${mistake.line}`;
  const where = `${escapeText(mistake.origin)}${line}: ${mistake.path}`;
  const got = mistake.value === "" ? "" : ` (got ${mistake.value})`;
  return `  ${where}: ${mistake.rule}${got}`;
}

export function makeMistake(
  path: readonly PathPart[],
  rule: string,
  value: unknown,
  origin: string,
  line?: number,
): Mistake {
  const text = path.some((part) => typeof part === "string" && isSecretKey(part))
    ? "a value not shown"
    : renderValue(value);
  const base = { path: renderPath(path), rule: escapeText(rule), value: text, origin };
  return Object.freeze(line === undefined ? base : { ...base, line });
}

/** What is shown in the place of a secret. */
export const HIDDEN_VALUE = "(a value, not shown)";

/** A text without the credentials of the URLs in it. */
export function withoutUserinfo(text: string): string {
  return text.replace(USERINFO, "//…@");
}

/** What stands under this key of a configuration is not shown. */
export function isSecretKey(key: string): boolean {
  return OWN_NAMES.test(key) || isSecretName(key);
}

/** `services.orders.routes[0].name`; unusual keys are quoted. The root is `(everything)`. */
export function renderPath(path: readonly PathPart[]): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else if (PLAIN_KEY.test(part)) text += text === "" ? part : `.${part}`;
    else text += `[${cap(JSON.stringify(part))}]`;
  }
  return text === "" ? "(everything)" : escapeText(text);
}

/** Objects and lists are only named: what they hold may be secret, and is long. */
export function renderValue(value: unknown): string {
  if (value === undefined) return "";
  if (typeof value === "string") {
    if (value.includes("-----BEGIN ")) return "a PEM text";
    return cap(escapeText(JSON.stringify(withoutUserinfo(value.slice(0, 1_000)))));
  }
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "object" && value !== null) return "an object";
  if (typeof value === "function") return "a function";
  // What is left is a number, a bigint, a boolean, a symbol or null.
  // oxlint-disable-next-line typescript/no-base-to-string
  return cap(escapeText(String(value)));
}

export function escapeText(text: string): string {
  return text.replace(UNPRINTABLE, (char) => {
    return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

function cap(text: string): string {
  return text.length <= MAX_VALUE ? text : `${text.slice(0, MAX_VALUE - 1)}…`;
}
