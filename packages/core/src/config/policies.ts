/**
 * Fills in the policies of a service or route from what it inherits. Lenient: a value of the wrong
 * type counts as not written, because the schema has reported it and the rest is still checked.
 */
import type { ServerConfig } from "../capability-options.ts";
import { formatDuration } from "./duration.ts";
import {
  type Field,
  groupOf,
  millisecondNames,
  nameOf,
  parsedNameOf,
  readDuration,
} from "./field.ts";
import { POLICY_FIELDS, ROUTE_FIELDS, SERVER_FIELDS } from "./fields.ts";
import type { PathPart } from "./mistakes.ts";
import { isRaw, type Raw, rawOf, type Report } from "./plain.ts";
import type { RouteConfig, ServicePolicies } from "./types.ts";

type RoutePolicies = Pick<RouteConfig, "timeouts" | "retry">;
type Values = Record<string, unknown>;

/** Fields that are written in one object, `name`, or beside it. */
interface Group {
  readonly name: string | undefined;
  readonly slots: readonly Slot[];
}

interface Slot {
  readonly field: Field;
  /** In the parsed configuration. */
  readonly key: string;
  /** Those that may be written, the one without unit first. */
  readonly names: readonly string[];
}

const POLICIES = groupsOf(POLICY_FIELDS);
const ROUTE_POLICIES = groupsOf(ROUTE_FIELDS);
const SERVER_OPTIONS = groupsOf(SERVER_FIELDS);

function groupsOf(fields: readonly Field[]): readonly Group[] {
  // No Map.groupBy, which Node 20 lacks: importing works there, and the first mesh says what it needs.
  const groups = new Map<string | undefined, Field[]>();
  for (const field of fields) {
    const name = groupOf(field);
    const members = groups.get(name);
    if (members === undefined) groups.set(name, [field]);
    else members.push(field);
  }
  return [...groups].map(([name, members]) => ({
    name,
    slots: members.map((field) => ({
      field,
      key: parsedNameOf(field),
      names: [nameOf(field), ...millisecondNames(field)],
    })),
  }));
}

export function servicePolicies(
  raw: Raw,
  base: ServicePolicies,
  path: readonly PathPart[],
  report: Report,
): ServicePolicies {
  return readPolicies(POLICIES, raw, base, path, report);
}

export function routePolicies(
  raw: Raw,
  service: ServicePolicies,
  path: readonly PathPart[],
  report: Report,
): RoutePolicies {
  const { requestMs, maxRequestMs, backendRequestMs } = service.timeouts;
  // A stream is meant to outlast the deadline that fits the service's other calls.
  const inherited = raw["streaming"] === true ? Infinity : requestMs;
  const timeouts = { requestMs: inherited, maxRequestMs, backendRequestMs };
  return readPolicies(ROUTE_POLICIES, raw, { timeouts, retry: service.retry }, path, report);
}

/** What is written about a server, and nothing else: code and the defaults say the rest. */
export function serverOptions(raw: Raw, path: readonly PathPart[], report: Report): ServerConfig {
  return readPolicies<ServerConfig>(SERVER_OPTIONS, raw, { limits: {} }, path, report);
}

/** `base` with what `raw` says. Inner objects are copied, never changed. */
function readPolicies<T extends object>(
  groups: readonly Group[],
  raw: Raw,
  base: T,
  path: readonly PathPart[],
  report: Report,
): T {
  const result = { ...base } as Values;
  for (const { name, slots } of groups) {
    const section = name === undefined ? raw : raw[name];
    const at = name === undefined ? path : [...path, name];
    const values = name === undefined ? result : { ...(result[name] as Values) };
    if (name !== undefined) result[name] = values;
    for (const slot of slots) {
      const value = isRaw(section) ? readOne(slot, section, at, report) : undefined;
      if (value !== undefined) values[slot.key] = value;
    }
    for (const slot of slots) checkBeside(slot, slots, section, values, at, report);
  }
  return result as T;
}

/** A value against others of its group, as they are now. */
function checkBeside(
  { field, key, names }: Slot,
  slots: readonly Slot[],
  section: unknown,
  values: Values,
  at: readonly PathPart[],
  report: Report,
): void {
  const { atLeast, atMost } = field;
  if (atLeast === undefined && atMost === undefined) return;
  const valueOf = (name: string): number =>
    values[slots.find((one) => one.names[0] === name)!.key] as number;
  const value = values[key] as number;
  const least = atLeast === undefined ? -Infinity : valueOf(atLeast);
  if (value < least && isRaw(section)) {
    const rule = `must be at least ${atLeast}, which is ${formatDuration(least)} here`;
    report([...at, names[0]!], rule, formatDuration(value));
  }
  const most = Math.max(...(atMost?.map(valueOf) ?? [Infinity]));
  if (value === Infinity || value <= most) return;
  if (names.some((name) => name in rawOf(section))) {
    const rule = `must be at most ${atMost![0]}, which is ${formatDuration(most)} here`;
    report([...at, names[0]!], rule, formatDuration(value));
  } else {
    // A limit that is inherited says nothing against a shorter one beside it.
    values[key] = most;
  }
}

function readOne(
  { field, names }: Slot,
  section: Raw,
  at: readonly PathPart[],
  report: Report,
): unknown {
  const [name, second] = names.filter((one) => one in section);
  if (name === undefined) return undefined;
  if (second !== undefined)
    report([...at, second], `must not be written together with ${name}`, section[second]);
  return readValue(field, section[name]);
}

function readValue(field: Field, value: unknown): unknown {
  switch (field.type) {
    case "duration":
      return typeof value === "string" ? readDuration(value) : numberOrNothing(value);
    case "integer":
    case "number":
      return numberOrNothing(value);
    case "boolean":
      return typeof value === "boolean" ? value : undefined;
    case "list":
    case "names":
      return Array.isArray(value) ? [...new Set(value)] : undefined;
    default:
      return typeof value === "string" ? value : undefined;
  }
}

function numberOrNothing(value: unknown): number | undefined {
  return typeof value === "number" && !Number.isNaN(value) ? value : undefined;
}
