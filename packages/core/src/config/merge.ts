/**
 * Lays configurations over each other, field by field, before they are parsed, and remembers which
 * layer wrote what: mistakes and the admin page can then say where a value comes from.
 */
import { millisecondNames, nameOf } from "./field.ts";
import { POLICY_FIELDS, SERVER_FIELDS } from "./fields.ts";
import type { PathPart } from "./mistakes.ts";
import { copyPlain, emptyRaw, isRaw, type Raw } from "./plain.ts";

/** One source's configuration, as written. */
export interface Layer {
  /** `env:INMESH_SERVICE_ORDERS`, `file:/etc/mesh.yaml`, `code`. */
  readonly origin: string;
  readonly input: unknown;
  /** The line where a path stands, from 1. */
  readonly lineOf?: (path: readonly PathPart[]) => number | undefined;
}

export interface MergedConfig {
  readonly input: unknown;
  /** The origins that wrote something about a service, lowest first. */
  readonly provenance: Readonly<Record<string, readonly string[]>>;
  locate(path: readonly PathPart[]): {
    readonly origin: string;
    readonly line?: number | undefined;
  };
}

/** `requestMs` and `backoffBaseMs` to the names without unit: one field, one winner. */
const FIELD_OF: ReadonlyMap<string, string> = new Map(
  [...POLICY_FIELDS, ...SERVER_FIELDS].flatMap((field) =>
    millisecondNames(field).map((name) => [name, nameOf(field)] as const),
  ),
);
/** What a new `url` brings with it, and what lower layers said about the old one. */
const FROM_URL: ReadonlySet<string> = new Set(["discovery", "authority", "scheme"]);

/** Lowest first: environment, file, code. */
export function mergeConfig(layers: readonly Layer[]): MergedConfig {
  const writers = new Map<string, Layer>();
  const provenance = emptyRaw() as Record<string, string[]>;
  let merged: unknown = emptyRaw();

  function note(path: readonly PathPart[], layer: Layer): void {
    writers.set(JSON.stringify(path), layer);
    const [first, service] = path;
    if (first !== "services" || typeof service !== "string" || path.length !== 2) return;
    const origins = (provenance[service] ??= []);
    if (!origins.includes(layer.origin)) origins.push(layer.origin);
  }

  function over(below: unknown, above: unknown, path: readonly PathPart[], layer: Layer): unknown {
    note(path, layer);
    if (!isRaw(above) || path.at(-1) === "discovery") return above;
    const result: Raw = Object.assign(emptyRaw(), isRaw(below) ? below : undefined);
    const own = new Set(Object.keys(above).map(fieldOf));
    for (const key of Object.keys(result)) {
      const replaced = own.has(fieldOf(key)) && !(key in above);
      const ofOldUrl =
        path.length === 2 && path[0] === "services" && "url" in above && FROM_URL.has(key);
      if (replaced || (ofOldUrl && !(key in above))) delete result[key];
    }
    for (const [key, value] of Object.entries(above)) {
      result[key] = over(result[key], value, [...path, key], layer);
    }
    return result;
  }

  for (const layer of layers) {
    // A layer that is no plain data goes on as it is, for the parser to refuse.
    let readable = true;
    const copy = copyPlain(layer.input, () => (readable = false));
    if (readable) merged = over(merged, copy, [], layer);
    else return unreadable(layer);
  }
  return {
    input: merged,
    provenance,
    locate(path) {
      for (let length = path.length; length >= 0; length--) {
        const layer = writers.get(JSON.stringify(path.slice(0, length)));
        if (layer !== undefined) return { origin: layer.origin, line: layer.lineOf?.(path) };
      }
      return { origin: "code" };
    },
  };
}

function unreadable(layer: Layer): MergedConfig {
  return {
    input: layer.input,
    provenance: {},
    locate: (path) => ({ origin: layer.origin, line: layer.lineOf?.(path) }),
  };
}

function fieldOf(key: string): string {
  return FIELD_OF.get(key) ?? key;
}
