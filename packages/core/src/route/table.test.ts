/** Precedence between routes, by example and against a reference that knows no shortcuts. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DEFAULT_POLICIES } from "../config/defaults.ts";
import type { RouteConfig } from "../config/types.ts";
import type { RouteMatchConfig, ValueMatchConfig } from "./types.ts";
import type { RouteFacts } from "./facts.ts";
import { compileTable } from "./table.ts";
import type { RouteEntry } from "./table.ts";

interface Request {
  readonly method: string;
  readonly pathname: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly params: Readonly<Record<string, string>>;
}

function factsOf(request: Partial<Request>): RouteFacts {
  return {
    method: request.method ?? "GET",
    pathname: request.pathname ?? "/",
    header: (name) => request.headers?.[name],
    queryParam: (name) => request.params?.[name],
  };
}

function entry(name: string, ...matches: readonly RouteMatchConfig[]): RouteEntry<string> {
  const config: RouteConfig = {
    name,
    matches,
    timeouts: DEFAULT_POLICIES.timeouts,
    retry: DEFAULT_POLICIES.retry,
    idempotent: false,
    overloadedMeansUnprocessed: false,
    streaming: false,
    filters: [],
    backendRefs: [],
  };
  return { config, value: name };
}

const exactPath = (value: string): RouteMatchConfig => ({ path: { type: "Exact", value } });
const prefix = (value: string): RouteMatchConfig => ({ path: { type: "PathPrefix", value } });
const regex = (value: string): RouteMatchConfig => ({ path: { type: "RegularExpression", value } });
const is = (name: string, value = "1"): ValueMatchConfig => ({ type: "Exact", name, value });

/** Fails when it is read: a table that reads it has not compiled the decision away. */
const untouchable = new Proxy<RouteFacts>(factsOf({}), {
  get() {
    throw new Error("the facts were read");
  },
});

describe("constant tables", () => {
  it.each([
    ["no routes", [], "fallback"],
    ["a route without matches", [entry("a")], "a"],
    ["an empty match", [entry("a", {})], "a"],
    ["the prefix /", [entry("a", prefix("/"))], "a"],
    ["two that match everything", [entry("a"), entry("b")], "a"],
  ] as const)("%s", (_what, routes, expected) => {
    expect(compileTable(routes, "fallback").match(untouchable)).toBe(expected);
  });
});

/** Best first. Every request below matches all of them. */
const ranked: readonly (readonly [string, RouteMatchConfig])[] = [
  ["exact, method", { ...exactPath("/v1/a"), method: "GET" }],
  ["exact", exactPath("/v1/a")],
  ["long prefix", prefix("/v1/a/")],
  ["short prefix, everything", { ...prefix("/v1"), method: "GET", headers: [is("a"), is("b")] }],
  ["short prefix, method", { ...prefix("/v1/"), method: "GET" }],
  ["short prefix, 2 headers", { ...prefix("/v1"), headers: [is("a"), is("b")] }],
  [
    "short prefix, 1 header, 2 parameters",
    {
      ...prefix("/v1"),
      headers: [is("a"), is("A"), is("a", "0")],
      queryParams: [is("p"), is("q")],
    },
  ],
  ["short prefix, 1 header", { ...prefix("/v1"), headers: [is("a")] }],
  ["short prefix, 2 parameters", { ...prefix("/v1"), queryParams: [is("p"), is("q")] }],
  ["short prefix, 1 parameter", { ...prefix("/v1"), queryParams: [is("p"), is("p", "0")] }],
  ["short prefix", prefix("/v1")],
  ["long expression", regex("/v[0-9]+/.*")],
  ["short expression, method", { ...regex("/v1/.*"), method: "GET" }],
  ["short expression", regex("/v1/.*")],
  ["method", { method: "GET" }],
  ["prefix /, header", { ...prefix("/"), headers: [is("a")] }],
  ["parameter", { queryParams: [is("p")] }],
  ["anything", {}],
];

describe("precedence", () => {
  const facts = factsOf({
    pathname: "/v1/a",
    headers: { a: "1", b: "1" },
    params: { p: "1", q: "1" },
  });

  it("ranks each of these above all after it, in whatever order they are configured", () => {
    for (const [index, [name, match]] of ranked.entries()) {
      for (const [other, otherMatch] of ranked.slice(index + 1)) {
        const routes = [entry(name, match), entry(other, otherMatch)];
        expect(compileTable(routes, "").match(facts), `${name} / ${other}`).toBe(name);
        expect(compileTable(routes.toReversed(), "").match(facts), `${other} / ${name}`).toBe(name);
      }
    }
  });

  it("is a total order: explain lists a shuffled set the same way", () => {
    const names = ranked.map(([name]) => name);
    fc.assert(
      fc.property(fc.shuffledSubarray([...ranked], { minLength: ranked.length }), (shuffled) => {
        const routes = shuffled.map(([name, match]) => entry(name, match));
        const rows = compileTable(routes, "").explain(facts);
        expect(rows.map((row) => row.route)).toEqual(names);
      }),
      { seed: 1 },
    );
  });

  it("breaks ties by the order of routes, then of matches", () => {
    const table = compileTable(
      [entry("a", prefix("/b"), prefix("/a")), entry("b", prefix("/a"))],
      "",
    );
    expect(table.match(factsOf({ pathname: "/a" }))).toBe("a");
    expect(table.explain(factsOf({ pathname: "/a" }))).toEqual([
      { route: "a", match: 0, matched: false, why: 'path "/a" is not under "/b"' },
      { route: "a", match: 1, matched: true, why: undefined },
      { route: "b", match: 0, matched: true, why: undefined },
    ]);
  });

  it("goes on to prefixes where an exact path's other conditions fail", () => {
    const routes = [
      entry("exact", { ...exactPath("/a"), method: "PUT" }),
      entry("any", prefix("/a")),
    ];
    const table = compileTable(routes, "fallback");
    expect(table.match(factsOf({ method: "PUT", pathname: "/a" }))).toBe("exact");
    expect(table.match(factsOf({ pathname: "/a" }))).toBe("any");
    expect(table.match(factsOf({ pathname: "/b" }))).toBe("fallback");
  });

  it("names the first condition that failed", () => {
    const routes = [entry("a", { ...prefix("/a"), method: "PUT", headers: [is("h")] })];
    const why = (request: Partial<Request>) =>
      compileTable(routes, "").explain(factsOf(request))[0]?.why;
    expect(why({})).toBe("method is GET, not PUT");
    expect(why({ method: "PUT" })).toBe('path "/" is not under "/a"');
    expect(why({ method: "PUT", pathname: "/a" })).toBe("header h is absent");
    expect(why({ method: "PUT", pathname: "/a", headers: { h: "1" } })).toBeUndefined();
  });
});

// The reference: evaluates every match the slow way and picks the best. It shares no code with the
// table; expressions are the language's own, from a set where both engines agree.

function referenceMatch(
  routes: readonly RouteEntry<string>[],
  fallback: string,
  request: Request,
): string {
  let best: { readonly key: readonly number[]; readonly value: string } | undefined;
  for (const [routeIndex, { config, value }] of routes.entries()) {
    const matches: readonly RouteMatchConfig[] = config.matches.length > 0 ? config.matches : [{}];
    for (const [matchIndex, match] of matches.entries()) {
      if (!referenceHolds(match, request)) continue;
      const key = [...referenceRank(match), -routeIndex, -matchIndex];
      if (best === undefined || isGreater(key, best.key)) best = { key, value };
    }
  }
  return best?.value ?? fallback;
}

function referenceHolds(match: RouteMatchConfig, request: Request): boolean {
  const { path } = match;
  if (match.method !== undefined && match.method !== request.method) return false;
  if (path?.type === "Exact" && path.value !== request.pathname) return false;
  if (path?.type === "PathPrefix") {
    const wanted = elements(path.value.replace(/\/$/, ""));
    const actual = elements(request.pathname);
    if (wanted.some((element, index) => actual[index] !== element)) return false;
  }
  if (path?.type === "RegularExpression" && !whole(path.value, request.pathname)) return false;
  return (
    referenceValues(match.headers ?? [], request.headers, (name) => name.toLowerCase()) &&
    referenceValues(match.queryParams ?? [], request.params, (name) => name)
  );
}

function referenceValues(
  configs: readonly ValueMatchConfig[],
  actual: Readonly<Record<string, string>>,
  keyOf: (name: string) => string,
): boolean {
  return configs.every((config, index) => {
    const key = keyOf(config.name);
    if (configs.findIndex((other) => keyOf(other.name) === key) < index) return true;
    const value = actual[key];
    if (value === undefined) return false;
    return config.type === "Exact" ? value === config.value : whole(config.value, value);
  });
}

function referenceRank({ path, method, headers, queryParams }: RouteMatchConfig): number[] {
  const isAny = path === undefined || (path.type === "PathPrefix" && path.value === "/");
  const names = (configs: readonly ValueMatchConfig[] = []) => configs.map(({ name }) => name);
  return [
    path?.type === "Exact" ? 1 : 0,
    path?.type === "PathPrefix" && !isAny ? path.value.replace(/\/$/, "").length : 0,
    path?.type === "RegularExpression" ? path.value.length : 0,
    method === undefined ? 0 : 1,
    new Set(names(headers).map((name) => name.toLowerCase())).size,
    new Set(names(queryParams)).size,
  ];
}

const elements = (path: string) => (path === "" ? [] : path.slice(1).split("/"));
const whole = (source: string, text: string) => new RegExp(`^(?:${source})$`).test(text);

function isGreater(a: readonly number[], b: readonly number[]): boolean {
  const index = a.findIndex((value, at) => value !== b[at]);
  return index >= 0 && (a[index] ?? 0) > (b[index] ?? 0);
}

// Few words, so that routes overlap and requests hit them.
const word = fc.constantFrom("a", "b", "ab", "v1", "v10");
const path = fc
  .tuple(fc.array(word, { maxLength: 3 }), fc.boolean())
  .map(([words, slash]) => `/${words.join("/")}${slash && words.length > 0 ? "/" : ""}`);
const expression = fc.constantFrom("/.*", "/v[0-9]+(/.*)?", "/(a|ab)", "/[ab]+/b", "(/a)+", "/a");
const method = fc.constantFrom("GET", "PUT", "get");
const value = fc.constantFrom("", "1", "2", "11");
const name = fc.constantFrom("h", "H", "k");

const valueMatch: fc.Arbitrary<ValueMatchConfig> = fc.oneof(
  fc.record({ type: fc.constant("Exact" as const), name, value }),
  fc.record({
    type: fc.constant("RegularExpression" as const),
    name,
    value: fc.constantFrom("1+", ".*", "[12]", "1|11"),
  }),
);
const pathMatch = fc.oneof(
  fc.record({ type: fc.constantFrom("Exact" as const, "PathPrefix" as const), value: path }),
  fc.record({ type: fc.constant("RegularExpression" as const), value: expression }),
);
const match: fc.Arbitrary<RouteMatchConfig> = fc.record(
  {
    path: pathMatch,
    method,
    headers: fc.array(valueMatch, { maxLength: 3 }),
    queryParams: fc.array(valueMatch, { maxLength: 3 }),
  },
  { requiredKeys: [] },
);
const routeSet = fc
  .array(fc.array(match, { maxLength: 3 }), { maxLength: 6 })
  .map((sets) => sets.map((matches, index) => entry(`r${index}`, ...matches)));
const request: fc.Arbitrary<Request> = fc.record({
  method,
  pathname: path,
  headers: fc.dictionary(fc.constantFrom("h", "k"), value),
  params: fc.dictionary(name, value),
});

describe("against the reference", () => {
  it("takes the same route, and explain's first matching row is that route", () => {
    const taken = new Set<string>();
    fc.assert(
      fc.property(
        routeSet,
        fc.array(request, { minLength: 1, maxLength: 4 }),
        (routes, requests) => {
          const table = compileTable(routes, "fallback");
          for (const one of requests) {
            const facts = factsOf(one);
            const expected = referenceMatch(routes, "fallback", one);
            taken.add(expected);
            expect(table.match(facts)).toBe(expected);
            const row = table.explain(facts).find(({ matched }) => matched);
            expect(row?.route ?? "fallback").toBe(expected);
          }
        },
      ),
      { seed: 2, numRuns: 3000 },
    );
    // The generators are worth something only if all of the routes get their turn.
    expect([...taken].sort()).toEqual(["fallback", "r0", "r1", "r2", "r3", "r4", "r5"]);
  });
});
