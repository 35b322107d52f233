import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compileTable } from "./table.ts";
import { ConfigError } from "../config/mistakes.ts";
import { parseConfig } from "../config/parse.ts";
import { printConfig } from "../config/print.ts";
import type { MeshConfig, RouteConfig } from "../config/types.ts";

const withMatches = (...matches: unknown[]) => ({
  services: { orders: { url: "http://orders", routes: [{ matches }] } },
});
const AT = "services.orders.routes[0].matches[0]";

function parsed(input: unknown): MeshConfig {
  const result = parseConfig(input, "test");
  if (!result.ok) throw new ConfigError(result.mistakes);
  return result.config;
}

function mistakesOf(match: unknown): Record<string, string> {
  const result = parseConfig(withMatches(match), "test");
  if (result.ok) return {};
  return Object.fromEntries(result.mistakes.map(({ path, rule }) => [path, rule]));
}

const routesOf = (config: MeshConfig): readonly RouteConfig[] => config.services["orders"]!.routes;
const pathOf = (method: unknown) => routesOf(parsed(withMatches({ method })))[0]!.matches[0]!.path;

/** The route that a gRPC call of this path takes, of routes with one match each. */
function routed(pathname: string, ...methods: unknown[]): string {
  const routes = methods.map((method, i) => ({ name: `${i}`, matches: [{ method }] }));
  const config = parsed({ services: { orders: { url: "http://orders", routes } } });
  const entries = routesOf(config).map((route) => ({ config: route, value: route.name }));
  return compileTable(entries, "none").match({
    method: "POST",
    pathname,
    header: () => undefined,
    queryParam: () => undefined,
  });
}

describe("method: { service, method } of a match", () => {
  it.each([
    [
      { service: "shop.Orders", method: "Get" },
      { type: "Exact", value: "/shop.Orders/Get" },
    ],
    [{ service: "shop.Orders" }, { type: "PathPrefix", value: "/shop.Orders" }],
    [
      { service: "shop.Orders", method: "" },
      { type: "PathPrefix", value: "/shop.Orders" },
    ],
    [
      { method: "Get", type: "Exact" },
      { type: "RegularExpression", value: "/[^/]+/Get" },
    ],
    [
      { service: "shop\\..*", method: "Get|List", type: "RegularExpression" },
      { type: "RegularExpression", value: "/(?:shop\\..*)/(?:Get|List)" },
    ],
    [
      { service: "(?i)SHOP.orders", type: "RegularExpression" },
      { type: "RegularExpression", value: "/(?:(?i)SHOP.orders)/[^/]+" },
    ],
  ])("%j is the path %j", (method, path) => expect(pathOf(method)).toEqual(path));

  it("stands with headers, and a text is still HTTP's method", () => {
    const headers = [{ name: "x-tier", value: "gold" }];
    const [match] = routesOf(parsed(withMatches({ method: { service: "a.B" }, headers })))[0]!
      .matches;
    expect(match).toEqual({
      path: { type: "PathPrefix", value: "/a.B" },
      headers: [{ type: "Exact", ...headers[0] }],
    });
    const http = withMatches({ method: "GET", path: { value: "/a" } });
    expect(routesOf(parsed(http))[0]!.matches[0]).toEqual({
      method: "GET",
      path: { type: "PathPrefix", value: "/a" },
    });
  });

  const table: [string, unknown, string, RegExp][] = [
    ["neither", { method: {} }, `${AT}.method`, /service, a method, or both/],
    ["empty texts", { method: { service: "", method: "" } }, `${AT}.method`, /or both/],
    ["a number", { method: 1 }, `${AT}.method`, /an HTTP method, or an object/],
    ["a list", { method: ["GET"] }, `${AT}.method`, /an HTTP method, or an object/],
    ["a name in small letters", { method: "get" }, `${AT}.method`, /capital letters/],
    ["misspelt", { method: { service: "a", methd: "Get" } }, `${AT}.method.methd`, /did you mean/],
    ["type", { method: { service: "a", type: "Prefix" } }, `${AT}.method.type`, /one of Exact/],
    ["no text", { method: { service: 7 } }, `${AT}.method.service`, /must be a text/],
    ["a path", { method: { service: "/a.B/Get" } }, `${AT}.method.service`, /full name/],
    ["a dot at its end", { method: { service: "a.B." } }, `${AT}.method.service`, /full name/],
    ["a slash", { method: { method: "B/Get" } }, `${AT}.method.method`, /method's name/],
    [
      "expression without saying so",
      { method: { service: "a", method: ".*" } },
      `${AT}.method.method`,
      /method's name/,
    ],
    [
      "no expression",
      { method: { service: "(", type: "RegularExpression" } },
      `${AT}.method.service`,
      /regular expression/,
    ],
    [
      "halves of one group",
      { method: { service: "a)|(b", method: "c", type: "RegularExpression" } },
      `${AT}.method.service`,
      /regular expression/,
    ],
    [
      "one that swallows its group's end",
      { method: { service: "\\Qa", type: "RegularExpression" } },
      `${AT}.method`,
      /regular expression/,
    ],
    [
      "too long to compile",
      { method: { method: "a".repeat(1_020) } },
      `${AT}.method.method`,
      /long/,
    ],
    [
      "beside a path",
      { method: { service: "a.B" }, path: { value: "/a.B" } },
      `${AT}.path`,
      /not stand beside/,
    ],
  ];
  it.each(table)("refused: %s", (_what, match, path, rule) => {
    expect(mistakesOf(match)[path]).toMatch(rule);
  });

  it("takes the calls that it names", () => {
    const exact = { service: "shop.Orders", method: "Get" };
    expect(routed("/shop.Orders/Get", exact)).toBe("0");
    expect(routed("/shop.Orders/List", exact)).toBe("none");
    expect(routed("/shop.Orders/List", { service: "shop.Orders" })).toBe("0");
    expect(routed("/shop.OrdersV2/List", { service: "shop.Orders" })).toBe("none");
    expect(routed("/any.Other/Get", { method: "Get" })).toBe("0");
    expect(routed("/any.Other/GetAll", { method: "Get" })).toBe("none");
    const expressions = { service: "a|b", method: "Get|List", type: "RegularExpression" };
    for (const path of ["/a/Get", "/b/List"]) expect(routed(path, expressions)).toBe("0");
    for (const path of ["/a", "/List", "/a/Get/x", "/c/Get"]) {
      expect(routed(path, expressions)).toBe("none");
    }
  });

  it("the narrower one wins, wherever it stands: both, then the service, then the method alone", () => {
    const both = { service: "shop.Orders", method: "Get" };
    const service = { service: "shop.Orders" };
    const method = { method: "Get" };
    expect(routed("/shop.Orders/Get", method, service, both)).toBe("2");
    expect(routed("/shop.Orders/Get", method, service)).toBe("1");
    expect(routed("/shop.Other/Get", method, service, both)).toBe("0");
  });
});

describe("for all names", () => {
  const method = fc.stringMatching(/^[A-Za-z_]\w{0,8}$/);
  const service = fc.array(method, { minLength: 1, maxLength: 3 }).map((parts) => parts.join("."));

  it("a match takes its own call and, of two equal halves, no other; what is printed parses to the same", () => {
    fc.assert(
      fc.property(service, method, service, method, (s1, m1, s2, m2) => {
        const path = `/${s2}/${m2}`;
        expect(routed(path, { service: s1, method: m1 })).toBe(
          s1 === s2 && m1 === m2 ? "0" : "none",
        );
        expect(routed(path, { service: s1 })).toBe(s1 === s2 ? "0" : "none");
        expect(routed(path, { method: m1 })).toBe(m1 === m2 ? "0" : "none");
        expect(routed(`/${s1}/${m1}`, { service: s1, method: m1 })).toBe("0");
        const config = parsed(withMatches({ method: { service: s1, method: m1 } }));
        expect(parsed(JSON.parse(JSON.stringify(printConfig(config))))).toEqual(config);
      }),
      { numRuns: 50 },
    );
  });
});
