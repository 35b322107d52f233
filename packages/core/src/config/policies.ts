/**
 * Fills in the policies of a service or route from what it inherits. Lenient: a value of the wrong
 * type counts as not written, because the schema has reported it and the rest is still checked.
 */
import { formatDuration, parseDuration } from "./duration.ts";
import { type Field, groupOf, millisecondNames, nameOf } from "./field.ts";
import { POLICY_FIELDS } from "./fields.ts";
import type { PathPart } from "./mistakes.ts";
import { isRaw, type Raw, rawOf, type Report } from "./plain.ts";
import type { RetryConfig, RouteConfig, ServicePolicies } from "./types.ts";

type RoutePolicies = Pick<RouteConfig, "timeouts" | "retry">;

export function servicePolicies(
  raw: Raw,
  base: ServicePolicies,
  path: readonly PathPart[],
  report: Report,
): ServicePolicies {
  const result: { -readonly [Key in keyof ServicePolicies]: ServicePolicies[Key] } = { ...base };
  for (const field of POLICY_FIELDS) assign(result, field, raw, path, report);
  checkPairs(raw, result, path, report);
  const { minOpenMs, maxOpenMs } = result.breaker;
  if (minOpenMs > maxOpenMs && isRaw(raw["breaker"])) {
    const rule = `must be at least minOpen, which is ${formatDuration(minOpenMs)} here`;
    report([...path, "breaker", "maxOpen"], rule, formatDuration(maxOpenMs));
  }
  return result;
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
  const result = { timeouts, retry: service.retry };
  for (const field of POLICY_FIELDS) {
    if (field.route === true) assign(result, field, raw, path, report);
  }
  checkPairs(raw, result, path, report);
  return result;
}

function checkPairs<T extends RoutePolicies["timeouts"]>(
  raw: Raw,
  result: { timeouts: T; readonly retry: RetryConfig },
  path: readonly PathPart[],
  report: Report,
): void {
  const { backoffBaseMs, backoffMaxMs } = result.retry;
  if (backoffBaseMs > backoffMaxMs && isRaw(raw["retry"])) {
    const rule = `must be at least backoff, which is ${formatDuration(backoffBaseMs)} here`;
    report([...path, "retry", "maxBackoff"], rule, formatDuration(backoffMaxMs));
  }
  const { requestMs, maxRequestMs, backendRequestMs } = result.timeouts;
  const longestMs = Math.max(requestMs, maxRequestMs);
  if (backendRequestMs === Infinity || backendRequestMs <= longestMs) return;
  const timeouts = rawOf(raw["timeouts"]);
  if ("backendRequest" in timeouts || "backendRequestMs" in timeouts) {
    const rule = `must be at most request, which is ${formatDuration(longestMs)} here`;
    report([...path, "timeouts", "backendRequest"], rule, formatDuration(backendRequestMs));
  } else {
    // An inherited limit of attempts above a shorter deadline is harmless, and says nothing.
    result.timeouts = { ...result.timeouts, backendRequestMs: longestMs };
  }
}

/** Puts what `raw` says about `field` into `target`, whose inner objects are copied, never changed. */
function assign(
  target: object,
  field: Field,
  raw: Raw,
  path: readonly PathPart[],
  report: Report,
): void {
  const group = groupOf(field);
  const section = group === undefined ? raw : raw[group];
  if (!isRaw(section)) return;
  const at = group === undefined ? path : [...path, group];
  const names = [nameOf(field), ...millisecondNames(field)].filter((name) => name in section);
  const [name, second] = names;
  if (name === undefined) return;
  if (second !== undefined)
    report([...at, second], `must not be written together with ${name}`, section[second]);
  const value = readValue(field, section[name]);
  if (value === undefined || field.parsed === undefined) return;
  const key = field.parsed.slice(field.parsed.lastIndexOf(".") + 1);
  if (group === undefined) Reflect.set(target, key, value);
  else Reflect.set(target, group, { ...(Reflect.get(target, group) as object), [key]: value });
}

function readValue(field: Field, value: unknown): unknown {
  switch (field.type) {
    case "duration":
      if (value === "none") return Infinity;
      return typeof value === "string" ? parseDuration(value) : numberOrNothing(value);
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
