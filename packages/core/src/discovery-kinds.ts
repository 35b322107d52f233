/**
 * The kinds of discovery of a mesh: the built-in ones and those of `createMesh({ discoveries })`, which are
 * registered, read, checked and opened in the same way.
 */
import { isShareable } from "./config/discovery-schema.ts";
import type { Field, FieldType } from "./config/field.ts";
import { kindAndOptions, type WrittenKind } from "./config/kind.ts";
import { makeMistake, type Mistake, type PathPart } from "./config/mistakes.ts";
import { isRaw, listOf } from "./config/plain.ts";
import { SOURCE_NAME } from "./config/source.ts";
import type { DiscoveryConfig } from "./config/types.ts";
import { dnsKind, srvKind } from "./discovery/dns/kind.ts";
import { fileKind } from "./discovery/file/kind.ts";
import type { DiscoveryKind } from "./discovery/kind.ts";
import { registryKind } from "./discovery/registry/kind.ts";
import { staticKind } from "./discovery/static/kind.ts";

export const BUILT_IN_KINDS: readonly DiscoveryKind[] = [
  dnsKind,
  srvKind,
  staticKind,
  fileKind,
  registryKind,
];

/** What the built-in kinds add to the fields of a configuration. */
export function discoveryFields(): readonly Field[] {
  return BUILT_IN_KINDS.flatMap(({ fields }) =>
    fields.map((field) => ({ ...field, path: `services.*.discovery.${field.path}` })),
  );
}

/** Types that a field of a kind may have. */
const TYPES: Readonly<Record<FieldType, boolean>> = {
  duration: true,
  integer: true,
  number: true,
  boolean: true,
  choice: true,
  text: true,
  pem: true,
  list: true,
  names: true,
  endpoints: true,
  object: true,
  any: true,
};

/**
 * With `own` behind the built-in ones. What is wrong with them is added to `mistakes`, and left out.
 * `opens`: they are run as well, and not only read.
 */
export function kindsWith<Kind extends WrittenKind>(
  own: readonly Kind[] | undefined,
  mistakes: Mistake[],
  opens: boolean,
): readonly (Kind | DiscoveryKind)[] {
  // The same list for all meshes that add nothing: its schema is made once.
  if (own === undefined || own.length === 0) return BUILT_IN_KINDS;
  const owners: Owners = new Map();
  for (const { name, fields } of BUILT_IN_KINDS) takeKeys(owners, name, fields);
  const kinds: (Kind | DiscoveryKind)[] = [...BUILT_IN_KINDS];
  for (const [i, kind] of own.entries()) {
    const wrong = kindMistakes(kind, ["discoveries", i], owners, opens);
    mistakes.push(...wrong);
    if (wrong.length === 0) kinds.push(kind);
  }
  return kinds;
}

/** A few words for people. */
export function describeDiscovery(
  discovery: DiscoveryConfig,
  own: readonly WrittenKind[] = [],
): string {
  const { kind, options } = kindAndOptions(discovery, [...BUILT_IN_KINDS, ...own]);
  return kind?.describe?.(options) ?? kind?.name ?? discovery.kind;
}

/** Which kind has each key under `discovery`, and whether others may have it too. */
type Owners = Map<string, { readonly name: string; readonly shares: boolean }>;

function takeKeys(owners: Owners, name: string, fields: readonly unknown[]): void {
  for (const key of keysOf(fields)) {
    if (!owners.has(key)) owners.set(key, { name, shares: shares(name, key, fields) });
  }
}

/** Only a key beside the name, and not one whose name or type changes as it is read. */
function shares(name: string, key: string, fields: readonly unknown[]): boolean {
  const field = fields.find((one) => isRaw(one) && one["path"] === key);
  return key !== name && isRaw(field) && isShareable(field["type"]);
}

/** `owners`: who has each key under `discovery`; those of `kind` are added. */
function kindMistakes(
  kind: unknown,
  path: readonly PathPart[],
  owners: Owners,
  opens: boolean,
): Mistake[] {
  const mistakes: Mistake[] = [];
  const mistake = (at: readonly PathPart[], rule: string, value: unknown): void =>
    void mistakes.push(makeMistake([...path, ...at], rule, value, "createMesh"));
  if (!isRaw(kind)) {
    mistake([], "must be a kind of discovery: an object with name, fields and open", kind);
    return mistakes;
  }
  const { name } = kind;
  if (typeof name !== "string" || !SOURCE_NAME.test(name)) {
    const rule =
      "must be a text of at most 31 lower-case letters, digits and -, which begins with a letter";
    mistake(["name"], rule, name);
    return mistakes;
  }
  for (const key of ["read", "authority", "write", "describe", "open", "takeOver", "check"]) {
    const value = kind[key];
    if ((value !== undefined || (opens && key === "open")) && typeof value !== "function") {
      mistake([key], "must be a function", value);
    }
  }
  if (!Array.isArray(kind["fields"])) mistake(["fields"], "must be a list", kind["fields"]);
  const fields = listOf(kind["fields"]);
  for (const [j, field] of fields.entries()) fieldMistakes(field, ["fields", j], mistake);
  if (mistakes.length > 0) return mistakes;
  const keys = keysOf(fields);
  if (!keys.includes(name)) mistake(["fields"], `must have one whose path is ${name}`, undefined);
  else if (kind["read"] === undefined && !isObjectField(fields, name)) {
    mistake(["read"], `must be written where the field ${name} is no object`, undefined);
  }
  for (const key of keys) {
    const owner = owners.get(key);
    if (owner === undefined || (owner.shares && shares(name, key, fields))) continue;
    const rule = `must not be ${name}: the key ${key} is that of the kind ${owner.name}`;
    mistake(["name"], rule, name);
  }
  if (mistakes.length === 0) takeKeys(owners, name, fields);
  return mistakes;
}

function fieldMistakes(
  field: unknown,
  at: readonly PathPart[],
  mistake: (at: readonly PathPart[], rule: string, value: unknown) => void,
): void {
  if (!isRaw(field)) return mistake(at, "must be an object with path, type and meaning", field);
  const { path, type, meaning, choices } = field;
  if (typeof path !== "string" || !/^[A-Za-z][\w-]*((\[\])?\.[A-Za-z][\w-]*)*$/.test(path)) {
    mistake([...at, "path"], "must be a path behind discovery, such as list.path", path);
  }
  if (typeof type !== "string" || !Object.hasOwn(TYPES, type)) {
    mistake([...at, "type"], `must be one of ${Object.keys(TYPES).join(", ")}`, type);
  }
  if (typeof meaning !== "string") mistake([...at, "meaning"], "must be a text", meaning);
  if (type === "choice" && (!Array.isArray(choices) || choices.length === 0)) {
    mistake([...at, "choices"], "must be a list of texts", choices);
  }
}

function isObjectField(fields: readonly unknown[], name: string): boolean {
  return fields.some(
    (field) => isRaw(field) && field["path"] === name && field["type"] === "object",
  );
}

/** Directly under `discovery`. */
function keysOf(fields: readonly unknown[]): readonly string[] {
  return fields.flatMap((field) => {
    const path = isRaw(field) ? field["path"] : undefined;
    return typeof path === "string" && !/[.[]/.test(path) ? [path] : [];
  });
}
