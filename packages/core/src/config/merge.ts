/**
 * Lays configurations over each other, field by field, before they are parsed, and remembers which
 * layer wrote what: mistakes and the admin page can then say where a value comes from.
 */
import { millisecondNames, nameOf } from "./field.ts";
import { POLICY_FIELDS, SERVER_FIELDS } from "./fields.ts";
import type { PathPart } from "./mistakes.ts";
import type { ConfigLayer } from "./source.ts";
import { copyPlain, emptyRaw, isRaw, type Raw } from "./plain.ts";

/** What one source says, and where: `env:INMESH_SERVICE_ORDERS`, `file:/etc/mesh.yaml`, `code`. */
export interface LocatedLayer extends ConfigLayer {
  readonly origin: string;
  /** The object that the source gave, if it is another one. */
  readonly given?: ConfigLayer | undefined;
}

/** A place in a layer. */
export interface Place {
  readonly origin: string;
  readonly line?: number | undefined;
}

export interface MergedConfig {
  readonly input: unknown;
  /** The origins that wrote something about a service, lowest first. */
  readonly provenance: Readonly<Record<string, readonly string[]>>;
  /** Where a path is written, or else what is around it. */
  locate(path: readonly PathPart[]): Place;
  /** The layer that has written a value; undefined if none has. What is in a list belongs to who wrote the list. */
  writer(path: readonly PathPart[]): LocatedLayer | undefined;
}

/** `requestMs` and `backoffBaseMs` to the names without unit: one field, one winner. */
const FIELD_OF: ReadonlyMap<string, string> = new Map(
  [...POLICY_FIELDS, ...SERVER_FIELDS].flatMap((field) =>
    millisecondNames(field).map((name) => [name, nameOf(field)] as const),
  ),
);
/** What a new `url` brings with it, and what lower layers said about the old one. */
const FROM_URL: ReadonlySet<string> = new Set(["discovery", "authority", "scheme"]);

/** Weakest first. */
export function mergeConfig(layers: readonly LocatedLayer[]): MergedConfig {
  const writers = new Map<string, LocatedLayer>();
  const provenance = emptyRaw() as Record<string, string[]>;
  let merged: unknown = emptyRaw();

  function note(path: readonly PathPart[], layer: LocatedLayer): void {
    writers.set(JSON.stringify(path), layer);
    const [first, service] = path;
    if (first !== "services" || typeof service !== "string" || path.length !== 2) return;
    const origins = (provenance[service] ??= []);
    const { origin } = placeIn(layer, path);
    if (!origins.includes(origin)) origins.push(origin);
  }

  function over(
    below: unknown,
    above: unknown,
    path: readonly PathPart[],
    layer: LocatedLayer,
  ): unknown {
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
    // A layer that is no object of plain data goes on as it is, for the parser to refuse.
    let readable = true;
    const copy = copyPlain(layer.input, () => (readable = false));
    if (!readable || !isRaw(copy)) return unreadable(layer);
    merged = over(merged, copy, [], layer);
  }
  return {
    input: merged,
    provenance,
    locate(path) {
      for (let length = path.length; length >= 0; length--) {
        const layer = writers.get(JSON.stringify(path.slice(0, length)));
        if (layer !== undefined) return placeIn(layer, path);
      }
      return { origin: "code" };
    },
    writer(path) {
      let value = merged;
      const written: PathPart[] = [];
      for (const part of path) {
        // Lists and discovery are written as a whole.
        if (!isRaw(value) || written.at(-1) === "discovery") break;
        const field = fieldOf(String(part));
        const key = Object.keys(value).find((one) => fieldOf(one) === field);
        if (key === undefined) return undefined;
        written.push(key);
        value = value[key];
      }
      return writers.get(JSON.stringify(written));
    },
  };
}

function unreadable(layer: LocatedLayer): MergedConfig {
  return {
    input: layer.input,
    provenance: {},
    locate: (path) => placeIn(layer, path),
    writer: () => layer,
  };
}

export function placeIn(layer: LocatedLayer, path: readonly PathPart[]): Place {
  return { origin: layer.originOf?.(path) ?? layer.origin, line: layer.lineOf?.(path) };
}

function fieldOf(key: string): string {
  return FIELD_OF.get(key) ?? key;
}
