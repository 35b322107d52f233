import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ConfigError, type Mistake } from "../config/mistakes.ts";
import { parseConfig } from "../config/parse.ts";
import { printConfig } from "../config/print.ts";
import type { MeshConfig } from "../config/types.ts";

const withFilters = (filters: unknown) => ({
  services: { orders: { url: "http://orders", routes: [{ filters }] } },
});
const AT = "services.orders.routes[0].filters";

function mistakesOf(filters: unknown): readonly Mistake[] {
  const result = parseConfig(withFilters(filters), "test");
  return result.ok ? [] : result.mistakes;
}

function parsed(input: unknown): MeshConfig {
  const result = parseConfig(input, "test");
  if (!result.ok) throw new ConfigError(result.mistakes);
  return result.config;
}

const filtersOf = (config: MeshConfig) => config.services["orders"]!.routes[0]!.filters;
const request = (modifier: unknown) => [{ requestHeaderModifier: modifier }];
const set = (name: unknown, value: unknown = "1") => request({ set: [{ name, value }] });

describe("filters of a route", () => {
  it("are read with names in lower case, and every list there", () => {
    const filters = [
      {
        type: "RequestHeaderModifier",
        requestHeaderModifier: { set: [{ name: "X-Tier", value: "Gold, plated" }] },
      },
      { responseHeaderModifier: { remove: ["Server"], add: [{ name: "x_a.b", value: "~" }] } },
    ];
    expect(filtersOf(parsed(withFilters(filters)))).toEqual([
      {
        requestHeaderModifier: {
          set: [{ name: "x-tier", value: "Gold, plated" }],
          add: [],
          remove: [],
        },
      },
      {
        responseHeaderModifier: {
          set: [],
          add: [{ name: "x_a.b", value: "~" }],
          remove: ["server"],
        },
      },
    ]);
    expect(filtersOf(parsed(withFilters([])))).toEqual([]);
    expect(filtersOf(parsed(withFilters(undefined)))).toEqual([]);
  });

  const table: [string, unknown, string, RegExp][] = [
    ["no list", {}, AT, /must be a list/],
    ["no object", ["x"], `${AT}[0]`, /must be an object/],
    ["nothing in it", [{}], `${AT}[0]`, /must have one of requestHeaderModifier/],
    [
      "both in one",
      [{ ...set("a")[0], responseHeaderModifier: { remove: ["a"] } }],
      `${AT}[0]`,
      /must have one of/,
    ],
    ["misspelt", [{ requestHeaderModifer: {} }], `${AT}[0].requestHeaderModifer`, /did you mean/],
    ["type alone", [{ type: "RequestHeaderModifier" }], `${AT}[0]`, /must have one of/],
    ["another type", [{ type: "URLRewrite", ...set("a")[0] }], `${AT}[0].type`, /must be one of/],
    [
      "type of the other",
      [{ type: "ResponseHeaderModifier", ...set("a")[0] }],
      `${AT}[0].type`,
      /must fit requestHeaderModifier/,
    ],
    ["twice", [...set("a"), ...set("b")], `${AT}[1].requestHeaderModifier`, /not be repeated/],
    ["three", [...set("a"), ...set("b"), ...set("c")], AT, /at most 2/],
    ["no change", request({}), `${AT}[0].requestHeaderModifier`, /set, add or remove/],
    [
      "empty lists",
      request({ set: [], add: [], remove: [] }),
      `${AT}[0].requestHeaderModifier`,
      /set, add or remove/,
    ],
    ["a map", request({ set: { a: "1" } }), `${AT}[0].requestHeaderModifier.set`, /a list/],
    ["a text", request({ add: ["a: 1"] }), `${AT}[0].requestHeaderModifier.add[0]`, /an object/],
    ["no name", set(undefined), `${AT}[0].requestHeaderModifier.set[0].name`, /must be written/],
    [
      "no value",
      request({ set: [{ name: "a" }] }),
      `${AT}[0].requestHeaderModifier.set[0].value`,
      /must be written/,
    ],
    ["a number", set("a", 1), `${AT}[0].requestHeaderModifier.set[0].value`, /must be a text/],
    [
      "removes no text",
      request({ remove: [1] }),
      `${AT}[0].requestHeaderModifier.remove[0]`,
      /must be a text/,
    ],
    [
      "17 headers",
      request({ add: Array.from({ length: 17 }, (_, i) => ({ name: `h${i}`, value: "1" })) }),
      `${AT}[0].requestHeaderModifier.add`,
      /at most 16/,
    ],
    [
      "long name",
      set("a".repeat(257)),
      `${AT}[0].requestHeaderModifier.set[0].name`,
      /at most 256/,
    ],
    [
      "long value",
      set("a", "x".repeat(4_097)),
      `${AT}[0].requestHeaderModifier.set[0].value`,
      /at most 4096/,
    ],
    [
      "long together",
      request({
        set: [
          { name: "a", value: "x".repeat(4_096) },
          { name: "b", value: "x".repeat(4_096) },
        ],
      }),
      `${AT}[0].requestHeaderModifier`,
      /at most 8192 bytes/,
    ],
  ];
  it.each(table)("refused: %s", (_what, filters, path, rule) => {
    const found = mistakesOf(filters).find((mistake) => mistake.path === path);
    expect(found?.rule).toMatch(rule);
  });

  it.each(["", " a", "a b", "a:b", ":authority", "_a", "__proto__", "ä", "a\r\nb", "a\0", "(x)"])(
    "the name %j is refused, also to remove",
    (name) => {
      for (const filters of [set(name), request({ remove: [name] })]) {
        expect(
          mistakesOf(filters)
            .map(({ rule }) => rule)
            .join(),
        ).toMatch(/header's name/);
      }
    },
  );

  it.each(["", " a", "a ", "\ta", "a\r\nx-b: 1", "a\0", "\x7f", "ä", "\u2028"])(
    "the value %j is refused",
    (value) =>
      expect(
        mistakesOf(set("a", value))
          .map(({ rule }) => rule)
          .join(),
      ).toMatch(/ASCII/),
  );

  it.each([
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "transfer_encoding",
    "Upgrade",
    "HTTP2-Settings",
    "Expect",
    "Content-Length",
    "Proxy-Authorization",
    "Host",
    "grpc-timeout",
    "Grpc-Status",
    "grpc-anything",
    "key-bin",
    "X-Mesh-Attempt",
    "x_mesh_nack",
    "l5d-dst-override",
    "x-envoy-retry-on",
    "x-forwarded-client-cert",
    "traceparent",
    "TraceState",
    "Idempotency-Key",
  ])("%s is reserved, whether set, added or removed, of requests and of replies", (name) => {
    const header = [{ name, value: "1" }];
    const modifiers = [{ set: header }, { add: header }, { remove: [name] }];
    for (const key of ["requestHeaderModifier", "responseHeaderModifier"]) {
      for (const modifier of modifiers) {
        const [mistake, ...more] = mistakesOf([{ [key]: modifier }]);
        expect(mistake?.rule).toMatch(`must not be "${name.toLowerCase()}", which`);
        expect(mistake?.path).toContain(`${AT}[0].${key}`);
        expect(more).toEqual([]);
      }
    }
  });

  it.each(["authorization", "cookie", "content-type", "user-agent", "baggage", "x-request-id"])(
    "%s is the application's",
    (name) => expect(mistakesOf(set(name))).toEqual([]),
  );

  it("a name stands once in a list, in any case, and may stand in another too", () => {
    const header = (name: string) => [{ name, value: "1" }];
    const twice = [
      { set: [...header("X-A"), ...header("x-a")] },
      { add: [...header("X-A"), ...header("x-a")] },
      { remove: ["x-a", "X-A"] },
    ];
    for (const modifier of twice) {
      const mistakes = mistakesOf(request(modifier));
      expect(mistakes.map(({ rule }) => rule)).toEqual([
        'must not be "x-a" a second time in one list',
      ]);
    }
    const all = { set: header("X-A"), add: header("x-a"), remove: ["X-a"] };
    expect(mistakesOf([...request(all), { responseHeaderModifier: all }])).toEqual([]);
  });

  it("all mistakes come at once, and none shows a value", () => {
    const mistakes = mistakesOf([
      {
        requestHeaderModifier: {
          set: [
            { name: "host", value: "secret-1" },
            { name: "a b", value: "secret-2\n" },
          ],
          add: ["authorization: secret-3"],
          remove: ["te"],
        },
      },
      { responseHeaderModifier: { set: "secret-4" } },
    ]);
    const where = mistakes.map(({ path }) => path.slice(AT.length));
    expect(where.toSorted()).toEqual([
      "[0].requestHeaderModifier.add[0]",
      "[0].requestHeaderModifier.remove[0]",
      "[0].requestHeaderModifier.set[0].name",
      "[0].requestHeaderModifier.set[1].name",
      "[0].requestHeaderModifier.set[1].value",
      "[1].responseHeaderModifier",
      "[1].responseHeaderModifier.set",
    ]);
    expect(new ConfigError(mistakes).message).not.toMatch(/secret-/);
  });

  it("a printed configuration shows no credential, and is otherwise the same again", () => {
    const secret = parsed(withFilters(set("Authorization", "Bearer hunter2")));
    expect(JSON.stringify(printConfig(secret))).not.toContain("hunter2");
    expect(filtersOf(parsed(printConfig(secret)))[0]?.requestHeaderModifier?.set[0]?.name).toBe(
      "authorization",
    );
  });
});

const NAME = fc.stringMatching(/^[A-Za-z][A-Za-z0-9_.-]{0,20}$/).map((name) => `h-${name}`);
const VALUE = fc.stringMatching(/^[!-~]([ -~]{0,30}[!-~])?$/);

describe("for all modifiers", () => {
  it("what is printed parses to the same; case of names and order of lists mean nothing", () => {
    const headers = fc.array(fc.record({ name: NAME, value: VALUE }), { maxLength: 8 });
    const modifier = fc.record({ set: headers, add: headers, remove: fc.array(NAME) });
    let valid = 0;
    fc.assert(
      fc.property(modifier, (written) => {
        const upper = (list: { name: string; value: string }[]) =>
          list.map(({ name, value }) => ({ name: name.toUpperCase(), value }));
        const shouted = {
          remove: written.remove.map((name) => name.toUpperCase()),
          add: upper(written.add),
          set: upper(written.set),
        };
        const one = parseConfig(withFilters(request(written)), "test");
        const other = parseConfig(withFilters(request(shouted)), "test");
        expect(other.ok).toBe(one.ok);
        if (!one.ok || !other.ok) return;
        valid++;
        expect(other.config).toEqual(one.config);
        const printed: unknown = JSON.parse(JSON.stringify(printConfig(one.config)));
        if (!JSON.stringify(printed).includes("not shown")) {
          expect(parsed(printed)).toEqual(one.config);
        }
      }),
    );
    expect(valid).toBeGreaterThan(50);
  });
});
