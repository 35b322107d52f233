/** Reads the routes of a service: matches, weighted destinations, and the policies they change. */
import type { PathPart } from "../config/mistakes.ts";
import { isRaw, listOf, type Raw, rawOf, type Report } from "../config/plain.ts";
import { readFilters } from "./filters.ts";
import { checkExpression, readRpcMatch } from "./rpc-match.ts";
import type { BackendRefConfig, RouteMatchConfig, RouteRules, ValueMatchConfig } from "./types.ts";

/** `policiesOf`: reads what a route has of its own, and inherits of its service. */
export function readRoutes<Policies>(
  value: unknown,
  serviceNames: ReadonlySet<string>,
  path: readonly PathPart[],
  report: Report,
  policiesOf: (route: Raw, at: readonly PathPart[]) => Policies,
): (RouteRules & Policies)[] {
  const seen = new Set<string>();
  return listOf(value).map((item, index) => {
    const at = [...path, "routes", index];
    const raw = rawOf(item);
    const name = typeof raw["name"] === "string" ? raw["name"] : `route-${index + 1}`;
    if (seen.has(name))
      report([...at, "name"], "must not be that of another route of the service", name);
    seen.add(name);
    return {
      name,
      matches: listOf(raw["matches"]).map((match, nth) =>
        readMatch(rawOf(match), [...at, "matches", nth], report),
      ),
      ...policiesOf(raw, at),
      idempotent: raw["idempotent"] === true,
      overloadedMeansUnprocessed: raw["overloadedMeansUnprocessed"] === true,
      streaming: raw["streaming"] === true,
      filters: readFilters(raw["filters"], [...at, "filters"], report),
      backendRefs: readBackends(raw["backendRefs"], serviceNames, [...at, "backendRefs"], report),
    };
  });
}

function readBackends(
  value: unknown,
  serviceNames: ReadonlySet<string>,
  path: readonly PathPart[],
  report: Report,
): BackendRefConfig[] {
  const items = listOf(value).filter(isRaw);
  const seen = new Set<string>();
  const result: BackendRefConfig[] = [];
  for (const [index, raw] of items.entries()) {
    const { name } = raw;
    if (typeof name !== "string") continue;
    if (!serviceNames.has(name))
      report([...path, index, "name"], "must be a service of this configuration", name);
    if (seen.has(name))
      report([...path, index, "name"], "must not be listed twice; add the weights", name);
    seen.add(name);
    result.push({ name, weight: typeof raw["weight"] === "number" ? raw["weight"] : 1 });
  }
  if (result.length > 0 && result.every((backend) => backend.weight === 0)) {
    report(path, "must have a weight above 0; calls could go nowhere", undefined);
  }
  return result;
}

function readMatch(raw: Raw, path: readonly PathPart[], report: Report): RouteMatchConfig {
  const { method } = raw;
  const byPath = isRaw(raw["path"]) ? readPath(raw["path"], [...path, "path"], report) : undefined;
  // A text is HTTP's method, an object GRPCRoute's, which is a path.
  const byRpc = isRaw(method) ? readRpcMatch(method, [...path, "method"], report) : undefined;
  if (isRaw(method) && byPath !== undefined) {
    report([...path, "path"], "must not stand beside a gRPC method, which is a path", raw["path"]);
  }
  const wanted = byRpc ?? byPath;
  return {
    ...(typeof method === "string" && { method }),
    ...(wanted !== undefined && { path: wanted }),
    ...("headers" in raw && {
      headers: readConditions(raw["headers"], true, [...path, "headers"], report),
    }),
    ...("queryParams" in raw && {
      queryParams: readConditions(raw["queryParams"], false, [...path, "queryParams"], report),
    }),
  };
}

function readPath(
  raw: Raw,
  path: readonly PathPart[],
  report: Report,
): NonNullable<RouteMatchConfig["path"]> {
  const type =
    raw["type"] === "Exact" || raw["type"] === "RegularExpression" ? raw["type"] : "PathPrefix";
  const value = typeof raw["value"] === "string" ? raw["value"] : "/";
  if (type === "RegularExpression") checkExpression(value, [...path, "value"], report);
  else if (!value.startsWith("/")) report([...path, "value"], 'must start with "/"', value);
  else if (/[?#]/.test(value))
    report([...path, "value"], "must not hold a query (use queryParams) or fragment", value);
  return { type, value };
}

function readConditions(
  value: unknown,
  areHeaders: boolean,
  path: readonly PathPart[],
  report: Report,
): ValueMatchConfig[] {
  return listOf(value).map((item, index) => {
    const raw = rawOf(item);
    const type = raw["type"] === "RegularExpression" ? raw["type"] : "Exact";
    const name = typeof raw["name"] === "string" ? raw["name"] : "";
    const text = typeof raw["value"] === "string" ? raw["value"] : "";
    if (type === "RegularExpression") checkExpression(text, [...path, index, "value"], report);
    return { type, name: areHeaders ? name.toLowerCase() : name, value: text };
  });
}
