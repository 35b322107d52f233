/**
 * Takes a copy of a configuration as plain data: no prototypes, no cycles, no `__proto__`. What
 * comes after it may read any key without asking where it comes from.
 */
import type { PathPart } from "./mistakes.ts";

export type Raw = Record<string, unknown>;
export type Report = (path: readonly PathPart[], rule: string, value: unknown) => void;

const MAX_DEPTH = 32;
/** Objects and lists, and what is in them. A file of 4 MiB cannot hold more. */
const MAX_VALUES = 4_200_000;

export function copyPlain(input: unknown, report: Report): unknown {
  const ancestors = new Set<object>();
  let values = 0;

  function copy(value: unknown, path: readonly PathPart[]): unknown {
    if (typeof value !== "object" || value === null) return value;
    if (values > MAX_VALUES) return undefined;
    // Counted before it is read: a list that has a length alone would be filled with as many values.
    values += 1 + (Array.isArray(value) ? value.length : Object.keys(value).length);
    if (values > MAX_VALUES) {
      report([], "holds too many values", undefined);
      return undefined;
    }
    if (ancestors.has(value) || path.length > MAX_DEPTH) {
      report(path, ancestors.has(value) ? "refers to itself" : "is nested too deeply", undefined);
      return undefined;
    }
    const isList = Array.isArray(value);
    if (!isList && Object.prototype.toString.call(value) !== "[object Object]") {
      report(path, "must be plain data", value);
      return undefined;
    }
    ancestors.add(value);
    const result = isList
      ? Array.from(value as readonly unknown[], (item, index) => copy(item, [...path, index]))
      : copyObject(value, path);
    ancestors.delete(value);
    return result;
  }

  function copyObject(value: object, path: readonly PathPart[]): Raw {
    const result = emptyRaw();
    for (const key of Object.keys(value)) {
      if (key === "__proto__") {
        report([...path, key], "is not a name that may be used", undefined);
        continue;
      }
      const inner = copy(Reflect.get(value, key), [...path, key]);
      // In code, `undefined` is how an option is left out.
      if (inner !== undefined) result[key] = inner;
    }
    return result;
  }

  try {
    return copy(input, []);
  } catch {
    // A getter or proxy of the caller's threw.
    report([], "could not be read: use plain data", undefined);
    return undefined;
  }
}

export function isRaw(value: unknown): value is Raw {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function rawOf(value: unknown): Raw {
  return isRaw(value) ? value : emptyRaw();
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function emptyRaw(): Raw {
  return Object.create(null) as Raw;
}
