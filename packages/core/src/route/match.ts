/**
 * One match of a route as running conditions. Everything that can be decided from configuration
 * (lower-casing, prefixes, expressions) is decided here, so that a request only compares.
 *
 * Paths and methods are compared as sent: nothing is decoded, `/a%2Fb` is one element, and `get`
 * is not `GET`.
 */
import { isSecretName } from "../secret-names.ts";
import type { RouteMatchConfig, ValueMatchConfig } from "./types.ts";
import type { RouteFacts } from "./facts.ts";
import { compileSafeRegExp } from "./regex.ts";

export type Match = (facts: RouteFacts) => boolean;

export interface Condition {
  readonly kind: "method" | "path" | "header" | "query";
  readonly test: Match;
  /**
   * Why `test` said no. Repeats configuration, the method and the path, but no value of a header or
   * parameter of the request: those may be secrets and explanations end up in logs.
   */
  readonly why: (facts: RouteFacts) => string;
}

/** The match that asks for nothing; tables compare with it to end early. */
export const matchAll: Match = () => true;

export function compileMatch(config: RouteMatchConfig): Match {
  return allOf(compileConditions(config));
}

/** True if all of the conditions are. */
export function allOf(conditions: readonly Condition[]): Match {
  const tests = conditions.map((condition) => condition.test);
  const [first, second] = tests;
  if (first === undefined) return matchAll;
  if (second === undefined) return first;
  if (tests.length === 2) return (facts) => first(facts) && second(facts);
  return (facts) => {
    for (const test of tests) if (!test(facts)) return false;
    return true;
  };
}

/** What a match asks for, cheapest first. Conditions that always hold are left out. */
export function compileConditions(config: RouteMatchConfig): readonly Condition[] {
  const conditions: Condition[] = [];
  if (config.method !== undefined) conditions.push(methodCondition(config.method));
  const path = config.path === undefined ? undefined : pathCondition(config.path);
  if (path !== undefined) conditions.push(path);
  for (const header of distinctHeaders(config)) conditions.push(headerCondition(header));
  for (const param of distinctParams(config)) conditions.push(paramCondition(param));
  return conditions;
}

/** Of several entries for one header only the first counts (Gateway API). */
export function distinctHeaders(config: RouteMatchConfig): readonly ValueMatchConfig[] {
  return distinct(config.headers ?? [], (name) => name.toLowerCase());
}

/** Of several entries for one query parameter only the first counts (Gateway API). */
export function distinctParams(config: RouteMatchConfig): readonly ValueMatchConfig[] {
  return distinct(config.queryParams ?? [], (name) => name);
}

/** `/v1/` and `/v1` are the same prefix; that of `/` is empty and holds for every path. */
export function prefixOf(value: string): string {
  return value.endsWith("/") ? value.slice(0, -1) : value;
}

function methodCondition(method: string): Condition {
  return {
    kind: "method",
    test: (facts) => facts.method === method,
    why: (facts) => `method is ${facts.method}, not ${method}`,
  };
}

function pathCondition(path: NonNullable<RouteMatchConfig["path"]>): Condition | undefined {
  const { type, value } = path;
  const wanted = JSON.stringify(value);
  if (type === "Exact") {
    return {
      kind: "path",
      test: (facts) => facts.pathname === value,
      why: (facts) => `path ${JSON.stringify(facts.pathname)} is not ${wanted}`,
    };
  }
  if (type === "RegularExpression") {
    const expression = compileSafeRegExp(value);
    return {
      kind: "path",
      test: (facts) => expression.test(facts.pathname),
      why: (facts) => `path ${JSON.stringify(facts.pathname)} does not match ${wanted}`,
    };
  }
  const prefix = prefixOf(value);
  if (prefix === "") return undefined;
  return {
    kind: "path",
    test: (facts) => isUnder(facts.pathname, prefix),
    why: (facts) => `path ${JSON.stringify(facts.pathname)} is not under ${wanted}`,
  };
}

const slash = 0x2f;

/** Compares whole path elements in place: `/v10` is not under `/v1`. */
function isUnder(pathname: string, prefix: string): boolean {
  return (
    pathname.startsWith(prefix) &&
    (pathname.length === prefix.length || pathname.charCodeAt(prefix.length) === slash)
  );
}

function headerCondition(config: ValueMatchConfig): Condition {
  const name = config.name.toLowerCase();
  const test = valueTest(config);
  return {
    kind: "header",
    test: (facts) => test(facts.header(name)),
    why: (facts) => whyValue(`header ${name}`, config, facts.header(name)),
  };
}

function paramCondition(config: ValueMatchConfig): Condition {
  const { name } = config;
  const test = valueTest(config);
  return {
    kind: "query",
    test: (facts) => test(facts.queryParam(name)),
    why: (facts) =>
      whyValue(`query parameter ${JSON.stringify(name)}`, config, facts.queryParam(name)),
  };
}

/** What is absent matches nothing, not even an expression that would accept the empty text. */
function valueTest(config: ValueMatchConfig): (actual: string | undefined) => boolean {
  const { type, value } = config;
  if (type === "Exact") return (actual) => actual === value;
  const expression = compileSafeRegExp(value);
  return (actual) => actual !== undefined && expression.test(actual);
}

function whyValue(what: string, config: ValueMatchConfig, actual: string | undefined): string {
  if (actual === undefined) return `${what} is absent`;
  const verb = config.type === "Exact" ? "is not" : "does not match";
  const wanted = isSecretName(config.name)
    ? "what the route asks for"
    : JSON.stringify(config.value);
  return `${what} ${verb} ${wanted}`;
}

function distinct(
  configs: readonly ValueMatchConfig[],
  keyOf: (name: string) => string,
): readonly ValueMatchConfig[] {
  const seen = new Set<string>();
  return configs.filter((config) => {
    const key = keyOf(config.name);
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}
