/** Single matches: every kind of condition on its own and together. */
import { describe, expect, it } from "vitest";
import type { RouteMatchConfig } from "./types.ts";
import type { RouteFacts } from "./facts.ts";
import { compileConditions, compileMatch, matchAll } from "./match.ts";

function factsOf(
  method: string,
  pathname: string,
  headers: Readonly<Record<string, string>> = {},
  params: Readonly<Record<string, string>> = {},
): RouteFacts {
  return {
    method,
    pathname,
    header: (name) => headers[name],
    queryParam: (name) => params[name],
  };
}

describe("paths", () => {
  it.each([
    ["PathPrefix", "/v1", "/v1", true],
    ["PathPrefix", "/v1", "/v1/", true],
    ["PathPrefix", "/v1", "/v1/x", true],
    ["PathPrefix", "/v1", "/v10", false],
    ["PathPrefix", "/v1", "/v", false],
    ["PathPrefix", "/v1", "/V1", false],
    ["PathPrefix", "/v1", "/x/v1", false],
    ["PathPrefix", "/v1/", "/v1", true],
    ["PathPrefix", "/v1/", "/v1/x", true],
    ["PathPrefix", "/v1/", "/v10", false],
    ["PathPrefix", "/a/b", "/a/b/c", true],
    ["PathPrefix", "/a/b", "/a/bc", false],
    ["PathPrefix", "/a/b", "/a%2Fb", false],
    ["PathPrefix", "/", "/", true],
    ["PathPrefix", "/", "/anything", true],
    ["Exact", "/v1", "/v1", true],
    ["Exact", "/v1", "/v1/", false],
    ["Exact", "/v1/", "/v1", false],
    ["Exact", "/v1", "/v1/x", false],
    ["RegularExpression", "/v[0-9]+", "/v12", true],
    ["RegularExpression", "/v[0-9]+", "/v12/x", false],
    ["RegularExpression", "v[0-9]+", "/v12", false],
  ] as const)("%s %s on %s: %s", (type, value, pathname, expected) => {
    expect(compileMatch({ path: { type, value } })(factsOf("GET", pathname))).toBe(expected);
  });
});

describe("method, headers and query parameters", () => {
  const facts = factsOf("GET", "/", { "x-user": "Ann", "x-empty": "" }, { page: "2", q: "" });

  const exact = (name: string, value: string) => ({ type: "Exact", name, value }) as const;
  const regex = (name: string, value: string) =>
    ({ type: "RegularExpression", name, value }) as const;

  const cases: readonly (readonly [RouteMatchConfig, boolean])[] = [
    [{}, true],
    [{ method: "GET" }, true],
    [{ method: "get" }, false],
    [{ method: "POST" }, false],
    [{ headers: [exact("X-User", "Ann")] }, true],
    [{ headers: [exact("x-user", "ann")] }, false],
    [{ headers: [exact("x-user", "An")] }, false],
    [{ headers: [regex("X-USER", "A.*")] }, true],
    [{ headers: [regex("x-user", "A")] }, false],
    [{ headers: [exact("x-empty", "")] }, true],
    [{ headers: [exact("x-none", "")] }, false],
    [{ headers: [regex("x-none", ".*")] }, false],
    [{ headers: [exact("x-user", "Ann"), exact("X-User", "Bob")] }, true],
    [{ headers: [exact("x-user", "Bob"), exact("X-User", "Ann")] }, false],
    [{ queryParams: [exact("page", "2")] }, true],
    [{ queryParams: [exact("Page", "2")] }, false],
    [{ queryParams: [regex("page", "[0-9]+")] }, true],
    [{ queryParams: [exact("q", "")] }, true],
    [{ queryParams: [exact("page", "2"), exact("page", "3")] }, true],
    [{ method: "GET", headers: [exact("x-user", "Ann")], queryParams: [exact("page", "2")] }, true],
    [
      { method: "GET", headers: [exact("x-user", "Ann")], queryParams: [exact("page", "3")] },
      false,
    ],
    [{ headers: [exact("x-user", "Ann"), exact("x-empty", "1")] }, false],
  ];
  it.each(cases)("%j: %s", (config, expected) => {
    expect(compileMatch(config)(facts)).toBe(expected);
  });
});

describe("what is known beforehand", () => {
  it("compiles the empty match and the prefix / away", () => {
    expect(compileMatch({})).toBe(matchAll);
    expect(compileMatch({ path: { type: "PathPrefix", value: "/" } })).toBe(matchAll);
  });

  it.each(["path", "headers", "queryParams"] as const)(
    "refuses a bad expression in %s",
    (where) => {
      const bad = { type: "RegularExpression", name: "a", value: "(" } as const;
      const config = where === "path" ? { path: bad } : { [where]: [bad] };
      expect(() => compileMatch(config)).toThrow(/invalid regular expression "\("/);
    },
  );
});

describe("reasons", () => {
  it.each([
    [{ method: "PUT" }, "method is GET, not PUT"],
    [{ path: { type: "Exact", value: "/b" } }, 'path "/a" is not "/b"'],
    [{ path: { type: "PathPrefix", value: "/b" } }, 'path "/a" is not under "/b"'],
    [{ path: { type: "RegularExpression", value: "/b+" } }, 'path "/a" does not match "/b+"'],
    [{ headers: [{ type: "Exact", name: "X-None", value: "1" }] }, "header x-none is absent"],
    [{ headers: [{ type: "Exact", name: "Key", value: "1" }] }, 'header key is not "1"'],
    [
      { queryParams: [{ type: "RegularExpression", name: "Q", value: "1+" }] },
      'query parameter "Q" does not match "1+"',
    ],
  ] as const)("%j", (config, expected) => {
    const facts = factsOf("GET", "/a", { key: "secret" }, { Q: "secret" });
    const reasons = compileConditions(config).map((condition) => condition.why(facts));
    expect(reasons).toEqual([expected]);
  });
});
