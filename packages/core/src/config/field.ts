/** One field that a user may write, as the tables of fields describe it, and what follows from that. */
import { formatDuration } from "./duration.ts";

export type FieldType =
  | "duration"
  | "integer"
  | "number"
  | "boolean"
  | "choice"
  | "text"
  /** The path of a PEM file, or the PEM itself. */
  | "pem"
  | "list"
  /** A list of endpoints as under `static`. Of kinds of discovery. */
  | "endpoints"
  | "object"
  /** Not checked by its field. Of kinds of discovery. */
  | "any";

export interface Field {
  /** As written. Policies stand under `defaults` and under each service; `*` is a name, `[]` an item. */
  readonly path: string;
  readonly type: FieldType;
  /** Path in ServicePolicies, which also names the default. Only for policies. */
  readonly parsed?: string;
  /** A route may write it too. */
  readonly route?: true;
  readonly unit?: string;
  readonly min?: number;
  readonly max?: number;
  /** `none` may be written, and means Infinity. */
  readonly none?: true;
  readonly choices?: readonly string[];
  /** For editors; the rule itself is checked by what reads the field. Of kinds of discovery. */
  readonly pattern?: string;
  /** Must be written if the object around it is. Of kinds of discovery. */
  readonly required?: true;
  /** Text for the page where the default is no value of DEFAULT_POLICIES. */
  readonly defaultText?: string;
  readonly rangeText?: string;
  readonly meaning: string;
  readonly reason?: string;
  readonly noEffectWhen?: string;
  readonly nameElsewhere?: string;
}

/** Its last name: `request` of `timeouts.request`. */
export function nameOf(field: Field): string {
  return field.path.slice(field.path.lastIndexOf(".") + 1);
}

/** The object it stands in: `timeouts`, or nothing for `idle`. */
export function groupOf(field: Field): string | undefined {
  const dot = field.path.indexOf(".");
  return dot < 0 ? undefined : field.path.slice(0, dot);
}

/** Names with milliseconds under them: `requestMs`, and `backoffBaseMs` as in the parsed shape. */
export function millisecondNames(field: Field): readonly string[] {
  if (field.type !== "duration" || field.parsed === undefined) return [];
  const inParsed = field.parsed.slice(field.parsed.lastIndexOf(".") + 1);
  return [...new Set([`${nameOf(field)}Ms`, inParsed])];
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
