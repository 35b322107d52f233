/**
 * GRPCRoute's `method: { service, method, type }` as the path that a gRPC call has. It is another
 * spelling and no other match: precedence, explanations and what is printed are those of a path.
 */
import { compileSafeRegExp } from "./regex.ts";
import type { PathPart } from "../config/mistakes.ts";
import type { Raw, Report } from "../config/plain.ts";
import type { RouteMatchConfig } from "./types.ts";

type PathMatch = NonNullable<RouteMatchConfig["path"]>;

const SERVICE = /^[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*$/;
const METHOD = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** One element of a path, whatever it is. */
const ANY = "[^/]+";

export function readRpcMatch(
  raw: Raw,
  path: readonly PathPart[],
  report: Report,
): PathMatch | undefined {
  const service = textOf(raw["service"]);
  const method = textOf(raw["method"]);
  if (service === undefined && method === undefined) {
    report(path, "must have a service, a method, or both", raw);
    return undefined;
  }
  if (raw["type"] === "RegularExpression") return readExpressions(service, method, path, report);
  if (service !== undefined && !SERVICE.test(service)) {
    report([...path, "service"], "must be a service's full name, such as shop.Orders", service);
  }
  if (method !== undefined && !METHOD.test(method)) {
    report([...path, "method"], "must be a method's name, such as Get", method);
  }
  if (service === undefined) {
    const value = `/${ANY}/${method}`;
    checkExpression(value, [...path, "method"], report); // it may be too long for one
    return { type: "RegularExpression", value };
  }
  if (method === undefined) return { type: "PathPrefix", value: `/${service}` };
  return { type: "Exact", value: `/${service}/${method}` };
}

/** Each stands in a group: an alternative in one must not leave the other out. */
function readExpressions(
  service: string | undefined,
  method: string | undefined,
  path: readonly PathPart[],
  report: Report,
): PathMatch {
  let sound = true;
  const half = (source: string | undefined, key: string): string => {
    if (source === undefined) return ANY;
    sound = checkExpression(source, [...path, key], report) && sound;
    return `(?:${source})`;
  };
  const value = `/${half(service, "service")}/${half(method, "method")}`;
  if (sound) checkExpression(value, path, report);
  return { type: "RegularExpression", value };
}

/** False: it is none, and that has been reported. */
export function checkExpression(
  source: string,
  path: readonly PathPart[],
  report: Report,
): boolean {
  try {
    compileSafeRegExp(source);
    return true;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : "it cannot be read";
    report(path, `must be a regular expression: ${why}`, source);
    return false;
  }
}

/** As in Gateway API, an empty text asks for nothing. */
function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
