/**
 * Which route a request takes. All matches of all routes compete, in the order of the Gateway API:
 *
 * 1. an Exact path, then the longest PathPrefix, then the longest RegularExpression, then no path
 * 2. a method
 * 3. more headers, then more query parameters
 * 4. the order of the routes, then that of the matches within a route
 *
 * The prefix `/` is Gateway API's spelling of "no path" and ranks as such. Where expressions go the
 * API leaves open; below real prefixes but above `/`, so that a catch-all cannot shadow them.
 */
import type { RouteConfig } from "../config/types.ts";
import type { RouteMatchConfig } from "./types.ts";
import type { RouteFacts } from "./facts.ts";
import {
  allOf,
  compileConditions,
  distinctHeaders,
  distinctParams,
  matchAll,
  prefixOf,
} from "./match.ts";
import type { Condition, Match } from "./match.ts";

export interface RouteTable<T> {
  /** The value of the route the request takes, or the fallback. Allocates nothing. */
  readonly match: (facts: RouteFacts) => T;
  /**
   * Every match in order of precedence; the first row that matched is the one taken, and without
   * one it is the fallback. For people: it compares everything and builds strings.
   */
  readonly explain: (facts: RouteFacts) => readonly RouteExplanation[];
}

export interface RouteExplanation {
  /** Name of the route. */
  readonly route: string;
  /** Which of the route's matches this row is about. */
  readonly match: number;
  readonly matched: boolean;
  /** The first condition that failed; undefined if none did. */
  readonly why: string | undefined;
}

export interface RouteEntry<T> {
  readonly config: RouteConfig;
  readonly value: T;
}

interface Rule<T> {
  readonly route: string;
  readonly match: number;
  readonly value: T;
  readonly conditions: readonly Condition[];
  /** The path, if it must be exactly this one. */
  readonly exact: string | undefined;
  /** Compared element by element, higher wins; equal ones keep the order of the configuration. */
  readonly rank: readonly number[];
}

interface Step<T> {
  readonly test: Match;
  readonly value: T;
}

/** Throws if an expression is not valid, see `compileSafeRegExp`. */
export function compileTable<T>(routes: readonly RouteEntry<T>[], fallback: T): RouteTable<T> {
  // The sort is stable, and that is the last rule of precedence.
  const rules = routes.flatMap(rulesOf).sort(byPrecedence);
  return {
    match: compileLookup(rules, fallback),
    explain: (facts) => rules.map((rule) => explainRule(rule, facts)),
  };
}

/** The match that a route without any stands for. */
const anything: readonly RouteMatchConfig[] = [{}];

function rulesOf<T>({ config, value }: RouteEntry<T>): readonly Rule<T>[] {
  const matches = config.matches.length === 0 ? anything : config.matches;
  return matches.map((match, index) => ({
    route: config.name,
    match: index,
    value,
    conditions: compileConditions(match),
    exact: match.path?.type === "Exact" ? match.path.value : undefined,
    rank: rankOf(match),
  }));
}

function rankOf(match: RouteMatchConfig): readonly number[] {
  return [
    ...pathRank(match.path),
    match.method === undefined ? 0 : 1,
    distinctHeaders(match).length,
    distinctParams(match).length,
  ];
}

function pathRank(path: RouteMatchConfig["path"]): readonly [kind: number, length: number] {
  if (path === undefined) return [0, 0];
  // Only equal exact paths ever compete, so their length decides nothing.
  if (path.type === "Exact") return [3, 0];
  if (path.type === "RegularExpression") return [1, path.value.length];
  const { length } = prefixOf(path.value);
  return length === 0 ? [0, 0] : [2, length];
}

function byPrecedence<T>(a: Rule<T>, b: Rule<T>): number {
  for (const [index, rank] of a.rank.entries()) {
    const difference = (b.rank[index] ?? 0) - rank;
    if (difference !== 0) return difference;
  }
  return 0;
}

/**
 * Exact paths rank before everything else, so one look into a map replaces comparing them all. The
 * rest is tried in order and ends at the first rule that asks for nothing.
 */
function compileLookup<T>(rules: readonly Rule<T>[], fallback: T): (facts: RouteFacts) => T {
  const exact = new Map<string, Step<T>[]>();
  const rest: Step<T>[] = [];
  let otherwise = fallback;
  for (const { exact: path, conditions, value } of rules) {
    if (path !== undefined) {
      // The map has compared the path already.
      const others = conditions.filter((condition) => condition.kind !== "path");
      const step = { test: allOf(others), value };
      const steps = exact.get(path);
      if (steps === undefined) exact.set(path, [step]);
      else steps.push(step);
    } else if (conditions.length === 0) {
      otherwise = value;
      break;
    } else {
      rest.push({ test: allOf(conditions), value });
    }
  }

  const lookup = compileSteps(rest, otherwise);
  if (exact.size === 0) return lookup;
  const byPath = new Map<string, (facts: RouteFacts) => T>();
  for (const [path, steps] of exact) {
    byPath.set(path, compileExact(steps, lookup));
  }
  return (facts) => {
    const found = byPath.get(facts.pathname);
    return found === undefined ? lookup(facts) : found(facts);
  };
}

function compileExact<T>(
  steps: readonly Step<T>[],
  lookup: (facts: RouteFacts) => T,
): (facts: RouteFacts) => T {
  const [first] = steps;
  if (first !== undefined && first.test === matchAll) {
    const { value } = first;
    return () => value;
  }
  return (facts) => {
    for (const step of steps) if (step.test(facts)) return step.value;
    return lookup(facts);
  };
}

function compileSteps<T>(steps: readonly Step<T>[], otherwise: T): (facts: RouteFacts) => T {
  if (steps.length === 0) return () => otherwise;
  return (facts) => {
    for (const step of steps) if (step.test(facts)) return step.value;
    return otherwise;
  };
}

function explainRule<T>(rule: Rule<T>, facts: RouteFacts): RouteExplanation {
  const failed = rule.conditions.find((condition) => !condition.test(facts));
  return {
    route: rule.route,
    match: rule.match,
    matched: failed === undefined,
    why: failed?.why(facts),
  };
}
