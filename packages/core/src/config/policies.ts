/**
 * Fills in the policies of a service or route from what it inherits. Lenient: a value of the wrong
 * type counts as not written, because the schema has reported it and the rest is still checked.
 */
import { formatDuration } from "./duration.ts";
import {
  type Field,
  groupOf,
  millisecondNames,
  nameOf,
  parsedNameOf,
  readDuration,
} from "./field.ts";
import { POLICY_FIELDS } from "./fields.ts";
import type { PathPart } from "./mistakes.ts";
import { isRaw, type Raw, rawOf, type Report } from "./plain.ts";
import type { RouteConfig, ServicePolicies } from "./types.ts";

type RoutePolicies = Pick<RouteConfig, "timeouts" | "retry">;
type Values = Record<string, unknown>;

const ROUTE_FIELDS: readonly Field[] = POLICY_FIELDS.filter((field) => field.route === true);

export function servicePolicies(
  raw: Raw,
  base: ServicePolicies,
  path: readonly PathPart[],
  report: Report,
): ServicePolicies {
  return readPolicies(POLICY_FIELDS, raw, base, path, report);
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
  return readPolicies(ROUTE_FIELDS, raw, { timeouts, retry: service.retry }, path, report);
}

/** `base` with what `raw` says. Inner objects are copied, never changed. */
function readPolicies<T extends object>(
  fields: readonly Field[],
  raw: Raw,
  base: T,
  path: readonly PathPart[],
  report: Report,
): T {
  const result = { ...base } as Values;
  const inOwn = (field: Field): { section: unknown; values: Values; at: readonly PathPart[] } => {
    const group = groupOf(field);
    if (group === undefined) return { section: raw, values: result, at: path };
    return { section: raw[group], values: result[group] as Values, at: [...path, group] };
  };
  for (const field of fields) {
    const { section, values, at } = inOwn(field);
    const value = isRaw(section) ? readOne(field, section, at, report) : undefined;
    if (value === undefined) continue;
    const key = parsedNameOf(field);
    const group = groupOf(field);
    if (group === undefined) result[key] = value;
    else result[group] = { ...values, [key]: value };
  }
  for (const field of fields) {
    if (field.atLeast === undefined && field.atMost === undefined) continue;
    const { section, values, at } = inOwn(field);
    const key = parsedNameOf(field);
    const value = values[key] as number;
    const limitOf = (name: string): number => {
      const other = fields.find((one) => one.path === `${at.at(-1)}.${name}`)!;
      return values[parsedNameOf(other)] as number;
    };
    const { atLeast, atMost } = field;
    if (atLeast !== undefined && value < limitOf(atLeast) && isRaw(section)) {
      const rule = `must be at least ${atLeast}, which is ${formatDuration(limitOf(atLeast))} here`;
      report([...at, nameOf(field)], rule, formatDuration(value));
    }
    const most = Math.max(...(atMost?.map(limitOf) ?? [Infinity]));
    if (value === Infinity || value <= most) continue;
    if (namesOf(field).some((name) => name in rawOf(section))) {
      const rule = `must be at most ${atMost![0]}, which is ${formatDuration(most)} here`;
      report([...at, nameOf(field)], rule, formatDuration(value));
    } else {
      // A limit that is inherited says nothing against a shorter one beside it.
      result[groupOf(field)!] = { ...values, [key]: most };
    }
  }
  return result as T;
}

function namesOf(field: Field): readonly string[] {
  return [nameOf(field), ...millisecondNames(field)];
}

function readOne(field: Field, section: Raw, at: readonly PathPart[], report: Report): unknown {
  const [name, second] = namesOf(field).filter((one) => one in section);
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
      return Array.isArray(value) ? [...new Set(value)] : undefined;
    default:
      return typeof value === "string" ? value : undefined;
  }
}

function numberOrNothing(value: unknown): number | undefined {
  return typeof value === "number" && !Number.isNaN(value) ? value : undefined;
}
