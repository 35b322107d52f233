/**
 * What the schema is made of: a zod type for each kind of field, from the table of fields, with
 * messages that say what must be written.
 */
import type * as Zod from "zod";
import { loadZod as requireZod } from "../lazy.cjs";
import { unknownKeyRule } from "./did-you-mean.ts";
import { DURATION_PATTERN, formatDuration } from "./duration.ts";
import { type Field, groupOf, millisecondNames, nameOf, rangeOf, readDuration } from "./field.ts";
import { LIMITS } from "./limits.ts";
import type * as ZodParts from "./zod.ts";

type Shape = Record<string, Zod.ZodType>;

/** Where copies of zod find each other's settings. */
const ZOD_GLOBALS = ["__zod_globalConfig", "__zod_globalRegistry"] as const;

/**
 * Loaded at the first use, because importing inmesh must stay cheap. Every copy of zod keeps what it
 * found under its global names, or put there; so names that were not there before go again, for the
 * checks of test frameworks for leaked globals. A zod of the application that is loaded first has put
 * its own, which stay; one that is loaded later puts its own.
 */
export function loadZod(): typeof ZodParts {
  const fresh = ZOD_GLOBALS.filter((name) => !Object.hasOwn(globalThis, name));
  const zod = requireZod() as typeof ZodParts;
  for (const name of fresh) Reflect.deleteProperty(globalThis, name);
  return zod;
}

const NO_CONTROLS = /^\P{Cc}*$/u;

export class SchemaParts {
  readonly z: typeof ZodParts;

  constructor(z: typeof ZodParts) {
    this.z = z;
  }

  /** One object for each group (`timeouts`, `retry`, …), from the table of fields. */
  policies(fields: readonly Field[]): Shape {
    const groups = new Map<string, Shape>();
    const shape: Shape = {};
    for (const field of fields) {
      const group = groupOf(field);
      const target = group === undefined ? shape : (groups.get(group) ?? {});
      if (group !== undefined) groups.set(group, target);
      target[nameOf(field)] = this.leaf(field);
      for (const name of millisecondNames(field)) target[name] = this.milliseconds(field);
    }
    for (const [group, inner] of groups) shape[group] = this.object(inner);
    return shape;
  }

  /** Of what is no policy, and has no name in milliseconds. */
  structure(option: Omit<Field, "path">): Zod.ZodType {
    return this.leaf({ ...option, path: "" });
  }

  /** The schema of one field. */
  leaf(field: Field): Zod.ZodType {
    const schema = this.#typed(field);
    return field.meaning === undefined ? schema : schema.meta({ description: field.meaning });
  }

  #typed(field: Field): Zod.ZodType {
    const z = this.z;
    switch (field.type) {
      case "duration":
        return this.#duration(field);
      case "boolean":
        return z.boolean(typed("true or false"));
      case "choice":
        return z.enum(
          [...(field.choices ?? [])],
          typed(`one of ${(field.choices ?? []).join(", ")}`),
        );
      case "integer":
        return this.#ranged(z.number(typed("a whole number")).int("must be a whole number"), field);
      case "number":
        return this.#ranged(z.number(typed("a number")), field);
      case "pem":
        return this.#pem();
      case "names":
        return this.list(this.text().min(1, "must not be empty"), 100);
      case "list": {
        const status = this.#ranged(
          z.number(typed("a status")).int("must be a whole number"),
          field,
        );
        return this.list(status, 200);
      }
      default:
        return this.text();
    }
  }

  #ranged(schema: Zod.ZodNumber, field: Field): Zod.ZodNumber {
    const { min = -Infinity, max = Infinity } = field;
    return schema.min(min, `must be at least ${min}`).max(max, `must be at most ${max}`);
  }

  #duration(field: Field): Zod.ZodType {
    const [inCode = ""] = millisecondNames(field);
    const wrong = `must be a duration with its unit, such as "500ms" or "1m30s" (a plain number goes under ${inCode})`;
    const schema = this.z.string({ error: () => wrong }).check((context) => {
      const text = context.value;
      const ms = readDuration(text);
      const message = ms === undefined ? wrong : durationRule(field, ms);
      if (message !== undefined) context.issues.push({ code: "custom", message, input: text });
    });
    // In a pattern, because a schema for editors cannot run the check.
    return schema.meta({
      pattern: field.none === true ? `${DURATION_PATTERN}|^none$` : DURATION_PATTERN,
    });
  }

  /** The form of code: a number, or Infinity. Also `none`, which JSON can say. */
  milliseconds(field: Field): Zod.ZodType {
    const z = this.z;
    // z.number() refuses Infinity, which is what "no timeout" is in code.
    const schema = z.custom<number | "none">(
      (value) => value === "none" || typeof value === "number",
      {
        error: () => "must be a whole number of milliseconds",
        abort: true,
      },
    );
    const checked = schema.check((context) => {
      const ms = context.value === "none" ? Infinity : context.value;
      const whole = Number.isInteger(ms) || ms === Infinity;
      const message = whole ? durationRule(field, ms) : "must be a whole number of milliseconds";
      if (message !== undefined) context.issues.push({ code: "custom", message, input: ms });
    });
    const { min = 0, max } = field;
    const number = { type: "integer", minimum: min, ...(max !== undefined && { maximum: max }) };
    return checked.meta({
      anyOf: field.none === true ? [number, { const: "none" }] : [number],
    });
  }

  text(): Zod.ZodString {
    return this.z
      .string(typed("a text"))
      .max(LIMITS.textLength, `must have at most ${LIMITS.textLength} characters`)
      .regex(NO_CONTROLS, "must not hold control characters");
  }

  /** Has lines, and may be a bundle of many certificates. */
  #pem(): Zod.ZodType {
    return this.z
      .string(typed("the path of a PEM file, or a PEM text"))
      .min(1, "must not be empty: leave it out for the default")
      .max(1_048_576, "must have at most 1 MiB");
  }

  list(item: Zod.ZodType, max: number): Zod.ZodArray<Zod.ZodType> {
    return this.z.array(item, typed("a list")).max(max, `must hold at most ${max} items`);
  }

  object(shape: Shape, ...required: readonly string[]): Zod.ZodType {
    const inner: Shape = {};
    for (const [key, schema] of Object.entries(shape)) {
      inner[key] = required.includes(key) ? schema : schema.optional();
    }
    const known = Object.keys(shape).filter((key) => !key.endsWith("Ms"));
    return this.z.strictObject(inner, {
      error: (issue) =>
        issue.code === "unrecognized_keys"
          ? issue.keys.map((key) => unknownKeyRule(key, known)).join("\n")
          : "must be an object (leave the key out to take the default)",
    });
  }
}

function durationRule(field: Field, ms: number): string | undefined {
  const { min = 0, max = Infinity } = field;
  if (ms === Infinity)
    return field.none === true ? undefined : `must be a limit: ${rangeOf(field)}`;
  if (ms < min) return `must be at least ${formatDuration(min)}`;
  if (ms > max) return `must be at most ${formatDuration(max)}`;
  return undefined;
}

export function typed(what: string): { error: (issue: { input?: unknown }) => string } {
  return {
    error: (issue) => (issue.input === undefined ? `must be written: ${what}` : `must be ${what}`),
  };
}
