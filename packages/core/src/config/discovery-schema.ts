/**
 * What may stand under `discovery`, from the fields of all kinds: the schema that checks it and describes it to
 * editors, and the reading of what passed it. Kinds from outside have no other way to say what is theirs.
 */
import type * as Zod from "zod";
import { parseDuration } from "./duration.ts";
import { endpointsSchema } from "./endpoints.ts";
import { type Field, nameOf } from "./field.ts";
import type { WrittenDiscovery, WrittenKind } from "./kind.ts";
import type { PathPart } from "./mistakes.ts";
import { emptyRaw, isRaw, type Raw, type Report } from "./plain.ts";
import { type SchemaParts, typed } from "./schema-parts.ts";

const MAX_ITEMS = 1_000;

type Shape = Record<string, Zod.ZodType>;

/** Keys directly under `discovery` that belong to `kind`, without its name: `port` of `dns`. */
export function keysBeside({ name, fields }: WrittenKind): readonly string[] {
  return childrenOf(fields, "").flatMap(({ path }) => (path === name ? [] : [path]));
}

export function discoverySchema(parts: SchemaParts, kinds: readonly WrittenKind[]): Zod.ZodType {
  const shape: Shape = {};
  const shared = sharedKeys(kinds);
  for (const { fields } of kinds) Object.assign(shape, shapeOf(parts, fields, ""));
  // What it may be depends on the kind that is written: `sharedRule` checks it.
  for (const key of shared) shape[key] = parts.z.unknown();
  const beside = kinds.flatMap((kind) =>
    keysBeside(kind).flatMap((key) => (shared.has(key) ? [] : [[key, [kind.name]]])),
  );
  return parts.object(shape).meta({
    oneOf: kinds.map(({ name }) => ({ required: [name] })),
    ...(beside.length > 0 && { dependentRequired: Object.fromEntries(beside) }),
  });
}

/** Keys beside the name of more than one kind, such as `port`. */
export function sharedKeys(kinds: readonly WrittenKind[]): ReadonlySet<string> {
  const once = new Set<string>();
  const shared = new Set<string>();
  for (const key of kinds.flatMap(keysBeside)) (once.has(key) ? shared : once).add(key);
  return shared;
}

/** An object with these fields, for what is no kind of discovery. */
export function fieldsSchema(parts: SchemaParts, fields: readonly Field[]): Zod.ZodType {
  return objectOf(parts, fields, childrenOf(fields, ""), "");
}

/** A key beside a kind's name may belong to other kinds as well, if it is of one of these types. */
export function isShareable(type: unknown): boolean {
  return type === "integer" || type === "text" || type === "any";
}

/** What the kind says against the value of a key that it shares with others. */
export function sharedRule(
  { fields }: WrittenKind,
  key: string,
  value: unknown,
): string | undefined {
  const field = fields.find(({ path }) => path === key);
  if (field === undefined || field.type === "any") return undefined;
  if (field.type === "text") return typeof value === "string" ? undefined : "must be a text";
  if (!Number.isSafeInteger(value)) return "must be a whole number";
  const { min = -Infinity, max = Infinity } = field;
  if (Number(value) < min) return `must be at least ${min}`;
  return Number(value) > max ? `must be at most ${max}` : undefined;
}

/** Fields that stand directly in the object at `prefix`, which is empty or ends with a dot. */
function childrenOf(fields: readonly Field[], prefix: string): readonly Field[] {
  return fields.filter(
    ({ path }) => path.startsWith(prefix) && !/[.[]/.test(path.slice(prefix.length)),
  );
}

function shapeOf(parts: SchemaParts, fields: readonly Field[], prefix: string): Shape {
  const shape: Shape = {};
  for (const field of childrenOf(fields, prefix)) {
    const name = nameOf(field);
    if (field.type === "duration") {
      const both = { ...field, parsed: `${field.path}Ms` };
      shape[name] = parts.leaf(both);
      shape[`${name}Ms`] = parts.milliseconds(both);
    } else shape[name] = partOf(parts, fields, field).meta({ description: field.meaning });
  }
  return shape;
}

function partOf(parts: SchemaParts, fields: readonly Field[], field: Field): Zod.ZodType {
  const { path, type, pattern, max = MAX_ITEMS } = field;
  const { z } = parts;
  switch (type) {
    case "any":
      return z.unknown();
    case "endpoints":
      return endpointsSchema(parts).min(1, "must hold at least one endpoint");
    case "object": {
      const named = childrenOf(fields, `${path}.*.`);
      if (named.length > 0) {
        const item = objectOf(parts, fields, named, `${path}.*.`);
        return z.record(z.string(), item, { error: () => "must be an object with names" });
      }
      const inner = childrenOf(fields, `${path}.`);
      if (inner.length > 0) return objectOf(parts, fields, inner, `${path}.`);
      return z.record(z.string(), parts.text(), typed("an object with texts"));
    }
    case "list": {
      const inner = childrenOf(fields, `${path}[].`);
      const item = inner.length > 0 ? objectOf(parts, fields, inner, `${path}[].`) : parts.text();
      return parts.list(item, max);
    }
    default:
      return pattern === undefined ? parts.leaf(field) : parts.leaf(field).meta({ pattern });
  }
}

function objectOf(
  parts: SchemaParts,
  fields: readonly Field[],
  inner: readonly Field[],
  prefix: string,
): Zod.ZodType {
  const required = inner.filter((field) => field.required === true).map(nameOf);
  return parts.object(shapeOf(parts, fields, prefix), ...required);
}

/** What was written, with durations as milliseconds. What is wrong has been reported by the schema. */
export function readFields(
  fields: readonly Field[],
  written: Raw,
  path: readonly PathPart[],
  report: Report,
): WrittenDiscovery {
  if (!fields.some(({ type }) => type === "duration")) return written;
  return readObject(fields, written, "", path, report);
}

function readObject(
  fields: readonly Field[],
  written: Raw,
  prefix: string,
  path: readonly PathPart[],
  report: Report,
): Raw {
  const result: Raw = Object.assign(emptyRaw(), written);
  for (const field of childrenOf(fields, prefix)) {
    const name = nameOf(field);
    const value = written[name];
    const at = [...path, name];
    if (field.type === "duration") {
      const inMs = `${name}Ms`;
      if (name in written && inMs in written) {
        report([...path, inMs], `must not be written together with ${name}`, written[inMs]);
      }
      const read = millisecondsOf(name in written ? value : written[inMs]);
      delete result[name];
      delete result[inMs];
      if (read !== undefined) result[inMs] = read;
    } else if (field.type === "object" && isRaw(value) && hasNames(fields, field)) {
      const inner = `${prefix}${name}.*.`;
      result[name] = mapValues(value, (item, key) =>
        isRaw(item) ? readObject(fields, item, inner, [...at, key], report) : item,
      );
    } else if (field.type === "object" && isRaw(value)) {
      result[name] = readObject(fields, value, `${prefix}${name}.`, at, report);
    } else if (field.type === "list" && Array.isArray(value)) {
      result[name] = value.map((item: unknown, i) =>
        isRaw(item) ? readObject(fields, item, `${prefix}${name}[].`, [...at, i], report) : item,
      );
    }
  }
  return result;
}

/** What stands in it stands under names that the user chooses. */
function hasNames(fields: readonly Field[], { path }: Field): boolean {
  return childrenOf(fields, `${path}.*.`).length > 0;
}

function mapValues(raw: Raw, change: (value: unknown, key: string) => unknown): Raw {
  const result = emptyRaw();
  for (const [key, value] of Object.entries(raw)) result[key] = change(value, key);
  return result;
}

function millisecondsOf(value: unknown): number | undefined {
  if (value === "none") return Infinity;
  if (typeof value === "string") return parseDuration(value);
  return typeof value === "number" ? value : undefined;
}
