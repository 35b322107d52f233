/**
 * What may be asked of a tap, and what is wrong with it. All conditions have to hold; of a list one of its
 * values has to. Text forms of the same options: parse.ts.
 */
import type { Outcome } from "../call.ts";
import { unknownKeyRule } from "../config/did-you-mean.ts";
import { makeMistake, type Mistake } from "../config/mistakes.ts";
import { isRaw } from "../config/plain.ts";
import { TOKEN } from "../field-names.ts";

export interface TapOptions {
  /** The called service, or the server. Default: all. */
  readonly service?: string | readonly string[];
  /** Default: all. */
  readonly route?: string | readonly string[];
  /** Calls that were made, or requests that were served. Default: both. */
  readonly direction?: "outbound" | "inbound";
  /** HTTP status or number of a gRPC status, a class such as `5xx` (HTTP), or `none`: without a reply. Default: all. */
  readonly status?: TapStatus | readonly TapStatus[];
  /** Default: all. */
  readonly outcome?: Outcome | readonly Outcome[];
  /** Of the error of the call, of one of its attempts, or of a refusal. Default: all. */
  readonly reason?: string | readonly string[];
  /** Default: all. */
  readonly method?: string | readonly string[];
  /** How the path begins; begins with `/`. Default: all. */
  readonly path?: string;
  /** `host:port` or `unix:path`: of a call, an attempt went to it; of a request never true. Default: all. */
  readonly endpoint?: string;
  /** Of a request: address of the peer, or a URI or DNS name of its certificate; of a call never true. Default: all. */
  readonly peer?: string;
  /** Milliseconds that it took at least. Default 0. */
  readonly minLatencyMs?: number;
  /** Values that fields of the request's head must have, by name. Default: none. */
  readonly header?: Readonly<Record<string, string>>;
  /** 32 hexadecimal digits. Default: all. */
  readonly traceId?: string;

  /** Share of what the filter lets through that is shown, above 0 and up to 1. Default 1. */
  readonly ratio?: number;
  /** Calls after which the tap ends by itself. Default: it does not. */
  readonly limit?: number;
  /** Calls shown in a second at most, 1 to 1,000; what is above is counted in `lost`. Default 100. */
  readonly maxPerSecond?: number;
  /** Events that wait for the reader at most, 1 to 1,000; then the oldest go, counted in `lost`. Default 1,000. */
  readonly buffer?: number;

  /** Show the fields of the request's head, with secrets redacted. Default false. */
  readonly headers?: boolean;
  /** Names of further fields whose values are redacted. Default: none. No effect without `headers`. */
  readonly redact?: readonly string[];
  /** Show the query. It may hold secrets, and is not redacted. Default false. */
  readonly query?: boolean;
}

export type TapStatus = number | "1xx" | "2xx" | "3xx" | "4xx" | "5xx" | "none";

const OUTCOMES: readonly unknown[] = ["success", "failure", "timeout", "overloaded", "abandoned"];
const STATUS_CLASS = /^(?:[1-5]xx|none)$/;
const TRACE_ID = /^(?!0{32})[0-9a-f]{32}$/i;
const MAX_PER_SECOND = 1_000;
const MAX_BUFFER = 1_000;
/** Of a list, and of `header`. */
const MAX_VALUES = 50;
const MAX_TEXT = 1_024;

/** How an option is written. `list`: one value or several. */
export type TapOptionForm = "list" | "text" | "number" | "flag" | "fields";

interface Kind {
  readonly form: TapOptionForm;
  readonly rule: string;
  /** Of a list, one of its values. */
  readonly fits: (value: unknown) => boolean;
}

const isText = (value: unknown): boolean =>
  typeof value === "string" && value !== "" && value.length <= MAX_TEXT;
const isWithin = (value: unknown, min: number, max: number): boolean =>
  Number.isInteger(value) && Number(value) >= min && Number(value) <= max;

const texts: Kind = {
  form: "list",
  rule: `must be a text of 1 to ${MAX_TEXT} characters, or a list of 1 to ${MAX_VALUES} such`,
  fits: isText,
};
const flag: Kind = {
  form: "flag",
  rule: "must be true or false",
  fits: (value) => typeof value === "boolean",
};
const text: Kind = {
  form: "text",
  rule: `must be a text of 1 to ${MAX_TEXT} characters`,
  fits: isText,
};

/** All of them; the compiler refuses a table that lacks one. */
const KINDS: Readonly<Record<keyof TapOptions, Kind>> = {
  service: texts,
  route: texts,
  direction: {
    form: "text",
    rule: "must be outbound or inbound",
    fits: (value) => value === "outbound" || value === "inbound",
  },
  status: {
    form: "list",
    rule: "must be a status from 0 to 999, 1xx to 5xx, none, or a list of such",
    fits: (value) =>
      typeof value === "string" ? STATUS_CLASS.test(value) : isWithin(value, 0, 999),
  },
  outcome: {
    form: "list",
    rule: `must be one of ${OUTCOMES.join(", ")}, or a list of such`,
    fits: (value) => OUTCOMES.includes(value),
  },
  reason: texts,
  method: {
    form: "list",
    rule: "must be a method such as GET, or a list of such",
    fits: (value) => isText(value) && TOKEN.test(String(value)),
  },
  path: {
    form: "text",
    rule: "must be the beginning of a path, from its / on",
    fits: (value) => isText(value) && String(value).startsWith("/"),
  },
  endpoint: text,
  peer: text,
  minLatencyMs: {
    form: "number",
    rule: "must be a number of milliseconds from 0 up",
    fits: (value) => Number.isFinite(value) && Number(value) >= 0,
  },
  header: {
    form: "fields",
    rule: `must be an object with 1 to ${MAX_VALUES} names of header fields, each with its value as text`,
    fits: isFields,
  },
  traceId: {
    form: "text",
    rule: "must be 32 hexadecimal digits, not all of them 0",
    fits: (value) => typeof value === "string" && TRACE_ID.test(value),
  },
  ratio: {
    form: "number",
    rule: "must be a number above 0 and up to 1",
    fits: (value) => typeof value === "number" && value > 0 && value <= 1,
  },
  limit: {
    form: "number",
    rule: "must be a whole number from 1 up",
    fits: (value) => isWithin(value, 1, Number.MAX_SAFE_INTEGER),
  },
  maxPerSecond: {
    form: "number",
    rule: `must be a whole number from 1 to ${MAX_PER_SECOND}`,
    fits: (value) => isWithin(value, 1, MAX_PER_SECOND),
  },
  buffer: {
    form: "number",
    rule: `must be a whole number from 1 to ${MAX_BUFFER}`,
    fits: (value) => isWithin(value, 1, MAX_BUFFER),
  },
  headers: flag,
  redact: {
    form: "list",
    rule: `must be a list of 1 to ${MAX_VALUES} names of header fields`,
    fits: (value) => isText(value) && TOKEN.test(String(value)),
  },
  query: flag,
};

function isFields(value: unknown): boolean {
  if (!isRaw(value)) return false;
  const entries = Object.entries(value);
  if (entries.length === 0 || entries.length > MAX_VALUES) return false;
  return entries.every(
    ([name, one]) => TOKEN.test(name) && typeof one === "string" && one.length <= MAX_TEXT,
  );
}

/** Undefined: there is no such option. */
export function formOf(name: string): TapOptionForm | undefined {
  return Object.hasOwn(KINDS, name) ? KINDS[name as keyof TapOptions].form : undefined;
}

export const TAP_OPTION_NAMES: readonly string[] = Object.keys(KINDS);

/** All of them. */
export function tapMistakes(given: unknown, origin: string = "mesh.tap"): Mistake[] {
  if (!isRaw(given)) return [makeMistake(["options"], "must be an object", given, origin)];
  return Object.keys(given).flatMap((name) => {
    const value = given[name];
    if (value === undefined) return [];
    if (formOf(name) === undefined) {
      return [makeMistake([name], unknownKeyRule(name, TAP_OPTION_NAMES), value, origin)];
    }
    const { form, rule, fits } = KINDS[name as keyof TapOptions];
    const right =
      form === "list" && Array.isArray(value)
        ? value.length > 0 && value.length <= MAX_VALUES && value.every(fits)
        : fits(value) && !(name === "redact" && !Array.isArray(value));
    return right ? [] : [makeMistake([name], rule, value, origin)];
  });
}
