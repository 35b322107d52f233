/** One field that a user may write, with its place, and what follows from that. */
import type { Option, Options, ParsedOptions } from "../option.ts";
import { formatDuration, parseDuration } from "./duration.ts";

export type FieldType =
  | Option["type"]
  | "object"
  /** A list of endpoints as under `static`. Of kinds of discovery. */
  | "endpoints"
  /** Not checked by its field. Of kinds of discovery. */
  | "any";

export interface Field {
  /** As written. Policies stand under `defaults` and under each service; `*` is a name, `[]` an item. */
  readonly path: string;
  readonly type: FieldType;
  /** Path in ServicePolicies. Only for policies. */
  readonly parsed?: string;
  readonly default?: unknown;
  readonly route?: true;
  readonly live?: true;
  readonly unit?: string;
  /** Of durations in milliseconds, as the default is. */
  readonly min?: number;
  readonly max?: number;
  readonly none?: true;
  readonly choices?: readonly string[];
  readonly atLeast?: string;
  readonly atMost?: readonly string[];
  /** For editors; the rule itself is checked by what reads the field. Of kinds of discovery. */
  readonly pattern?: string;
  /** Must be written if the object around it is. Of kinds of discovery. */
  readonly required?: true;
  readonly defaultText?: string;
  readonly rangeText?: string;
  readonly meaning?: string;
  readonly noEffectWhen?: string;
  readonly nameElsewhere?: string;
  /** Where its doc comment is found. */
  readonly option?: object;
}

/** The fields of a capability's options, which are written in the object `group`, or beside it. */
export function fieldsOf(options: Options, group?: string): Field[] {
  const prefix = group === undefined ? "" : `${group}.`;
  return Object.entries(options).map(([name, option]) => {
    const { as, ...rest } = option;
    const isDuration = option.type === "duration";
    const range = isDuration
      ? {
          default: readDuration(option.default),
          min: readDuration(option.min ?? "0s"),
          max: readDuration(option.max),
        }
      : "max" in option && { min: option.min ?? 0 };
    const parsed = `${prefix}${as ?? (isDuration ? `${name}Ms` : name)}`;
    return { ...rest, ...range, path: `${prefix}${name}`, parsed, option } as Field;
  });
}

/** What the options are where they are not written. */
export function defaultsOf<T extends Options>(options: T): ParsedOptions<T> {
  const values = fieldsOf(options).map((field) => [parsedNameOf(field), field.default]);
  return Object.fromEntries(values) as ParsedOptions<T>;
}

/** Milliseconds; undefined if the text is no duration. */
export function readDuration(text: string): number | undefined {
  return text === "none" ? Infinity : parseDuration(text);
}

/** Its last name: `request` of `timeouts.request`. */
export function nameOf(field: Field): string {
  return lastOf(field.path);
}

/** The name in the parsed configuration: `requestMs`. */
export function parsedNameOf(field: Field): string {
  return lastOf(field.parsed ?? field.path);
}

function lastOf(path: string): string {
  return path.slice(path.lastIndexOf(".") + 1);
}

/** The object it stands in: `timeouts`, or nothing for `idle`. */
export function groupOf(field: Field): string | undefined {
  const dot = field.path.indexOf(".");
  return dot < 0 ? undefined : field.path.slice(0, dot);
}

/** Names with milliseconds under them: `requestMs`, and `backoffBaseMs` as in the parsed shape. */
export function millisecondNames(field: Field): readonly string[] {
  if (field.type !== "duration" || field.parsed === undefined) return [];
  return [...new Set([`${nameOf(field)}Ms`, parsedNameOf(field)])];
}

/** `from 1ms to 24h, or none`. */
export function rangeOf(field: Field): string {
  if (field.rangeText !== undefined) return field.rangeText;
  if (field.choices !== undefined) return field.choices.map((choice) => `\`${choice}\``).join(", ");
  if (field.type === "boolean") return "`true`, `false`";
  if (field.min === undefined || field.max === undefined) return "";
  const show = (value: number): string =>
    field.type === "duration" ? formatDuration(value) : `${value}`;
  return `${show(field.min)} to ${show(field.max)}${field.none === true ? ", or `none`" : ""}`;
}
