/** The schema for editors and the parser agree, checked with a validator that is not ours. */
import { readdirSync, readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Field,
  groupOf,
  millisecondNames,
  nameOf,
} from "../packages/core/src/config/field.ts";
import { POLICY_FIELDS } from "../packages/core/src/config/fields.ts";
import { parseConfig } from "../packages/core/src/config/parse.ts";
import { parseConfigText } from "../packages/core/src/config/sources/file.ts";
import { meshSchema } from "../scripts/mesh-schema.ts";

const text = readFileSync(new URL("reference/mesh.schema.json", import.meta.url), "utf8");
const validate = new Ajv2020({ allErrors: true, strict: true, strictRequired: false }).compile(
  JSON.parse(text) as object,
);

const bySchema = (input: unknown): boolean => validate(input);
const byParser = (input: unknown): boolean => parseConfig(input, "test").ok;

function yamlBlocks(): [string, string][] {
  const pages = [
    "reference/config.md",
    ...readdirSync(new URL("guides", import.meta.url)).map((file) => `guides/${file}`),
  ];
  return pages.flatMap((page) => {
    const blocks = readFileSync(new URL(page, import.meta.url), "utf8").matchAll(
      /^```yaml\n([\s\S]*?)^```$/gm,
    );
    return [...blocks].map(([, block = ""], i): [string, string] => [`${page} ${i + 1}`, block]);
  });
}

describe("docs/reference/mesh.schema.json", () => {
  it("is what scripts/write-mesh-schema.ts writes", () => {
    expect(text).toBe(meshSchema());
  });

  it.each(yamlBlocks().filter(([, block]) => /^(services|defaults):/m.test(block)))(
    "accepts %s",
    (_where, block) => {
      const read = parseConfigText(block, "example.yaml");
      expect(read.ok && bySchema(read.layer.input)).toBe(true);
    },
  );
});

const url = "http://orders:8080";
/** A policy at one of the places where it may stand. */
const places: ((field: Field, name: string, value: unknown) => unknown)[] = [
  (field, name, value) => ({ defaults: policy(field, name, value) }),
  (field, name, value) => ({ services: { orders: { url, ...policy(field, name, value) } } }),
  (field, name, value) =>
    field.route === true
      ? { services: { orders: { url, routes: [policy(field, name, value)] } } }
      : { defaults: policy(field, name, value) },
];

function policy(field: Field, name: string, value: unknown): Record<string, unknown> {
  const group = groupOf(field);
  return group === undefined ? { [name]: value } : { [group]: { [name]: value } };
}

const wrongType: fc.Arbitrary<unknown> = fc.constantFrom(
  null,
  [],
  {},
  true,
  "",
  "12",
  "5 s",
  "-1s",
  -7.5,
  1e12,
  [["x"]],
  ["500ms"],
);

function names(field: Field): string[] {
  return [nameOf(field), ...millisecondNames(field)];
}

describe("for generated inputs", () => {
  const somewhere = fc.record({
    // Of texts only the parser knows what is right.
    field: fc.constantFrom(...POLICY_FIELDS.filter(({ type }) => !["pem", "text"].includes(type))),
    place: fc.constantFrom(...places),
    pick: fc.nat(2),
  });

  it("a value of the wrong type or far out of range is refused by both", () => {
    let refused = 0;
    fc.assert(
      fc.property(somewhere, wrongType, ({ field, place, pick }, value) => {
        const all = names(field);
        const input = place(field, all[pick % all.length]!, value);
        // Some of these are right for some field: then neither refuses it.
        expect([value, bySchema(input)]).toEqual([value, byParser(input)]);
        if (!bySchema(input)) refused++;
      }),
      { numRuns: 1_000 },
    );
    expect(refused).toBeGreaterThan(500);
  });

  it("numbers just within and just beyond a range are judged alike", () => {
    for (const field of POLICY_FIELDS) {
      const { min, max } = field;
      if (min === undefined || max === undefined || field.type === "list") continue;
      const list = field.type === "duration" ? millisecondNames(field) : [nameOf(field)];
      for (const name of list) {
        for (const value of [min, max, min - 1, max + 1]) {
          for (const place of places) {
            const input = place(field, name, value);
            const beyond = value < min || value > max;
            expect([field.path, value, bySchema(input)]).toEqual([field.path, value, !beyond]);
            if (beyond) expect(byParser(input)).toBe(false);
          }
        }
      }
    }
  });

  it("every duration is written with its unit, and none only where it is allowed", () => {
    for (const field of POLICY_FIELDS.filter(({ type }) => type === "duration")) {
      for (const value of ["none", "1s", "1h30m", "1", "s", "1s ", "1 s", "1.5s", "١s"]) {
        const input = places[0]!(field, nameOf(field), value);
        const right = value === "none" ? field.none === true : ["1s", "1h30m"].includes(value);
        expect([field.path, value, bySchema(input)]).toEqual([field.path, value, right]);
        if (!right) expect(byParser(input)).toBe(false);
      }
    }
  });

  it("unknown keys are refused by both, wherever they stand", () => {
    const keys = fc.string({ minLength: 1 }).filter((key) => key !== "__proto__");
    const at: ((key: string) => unknown)[] = [
      (key) => ({ [key]: 1 }),
      (key) => ({ defaults: { [key]: 1 } }),
      (key) => ({ services: { orders: { url, [key]: 1 } } }),
      (key) => ({ services: { orders: { url, breaker: { [key]: "?" } } } }),
      (key) => ({ services: { orders: { discovery: { static: ["a:1"], [key]: [] } } } }),
      (key) => ({ services: { orders: { url, routes: [{ [key]: [] }] } } }),
    ];
    fc.assert(
      fc.property(keys, fc.constantFrom(...at), (key, put) => {
        const input = put(`x-${key}`);
        expect([bySchema(input), byParser(input)]).toEqual([false, false]);
      }),
    );
  });

  it("matches and filters of routes", () => {
    const route = (what: object): unknown => ({ services: { orders: { url, routes: [what] } } });
    const match = (method: unknown): unknown => route({ matches: [{ method }] });
    const header = [{ name: "x-a", value: "1" }];
    const cases: [unknown, boolean][] = [
      [match("GET"), true],
      [match("get"), false],
      [match(1), false],
      [match({ service: "shop.Orders" }), true],
      [match({ method: "Get", type: "RegularExpression" }), true],
      [match({ service: "shop.Orders", type: "Prefix" }), false],
      [match({ type: "Exact" }), false],
      [match({}), false],
      [route({ filters: [{ requestHeaderModifier: { set: header } }] }), true],
      [
        route({
          filters: [{ type: "ResponseHeaderModifier", responseHeaderModifier: { remove: ["a"] } }],
        }),
        true,
      ],
      [route({ filters: [{}] }), false],
      [route({ filters: [{ type: "RequestHeaderModifier" }] }), false],
      [route({ filters: [{ type: "URLRewrite", requestHeaderModifier: { set: header } }] }), false],
      [
        route({ filters: [{ requestHeaderModifier: { set: [{ name: "a b", value: "1" }] } }] }),
        false,
      ],
      [
        route({ filters: [{ requestHeaderModifier: { add: [{ name: "a", value: "1\n" }] } }] }),
        false,
      ],
      [route({ filters: [{ requestHeaderModifier: { remove: [":path"] } }] }), false],
    ];
    for (const [input, right] of cases) {
      expect([input, bySchema(input), byParser(input)]).toEqual([input, right, right]);
    }
  });

  it("discovery has exactly one kind, names of services are names", () => {
    const service = (discovery: unknown, name = "orders"): unknown => ({
      services: { [name]: { discovery } },
    });
    const cases: [unknown, boolean][] = [
      [service({ static: ["10.0.0.1:80"] }), true],
      [service({ file: "endpoints.yaml" }), true],
      [service({ dns: "a", port: 80 }), true],
      [service({}), false],
      [service({ static: [] }), false],
      [service({ file: "endpoints.txt" }), false],
      [service({ static: ["10.0.0.1:80"], file: "endpoints.yaml" }), false],
      [service({ srv: "_http._tcp.a", port: 80 }), false],
      [service({ static: [{ host: "a" }] }), false],
      [service({ static: [{ host: "unix:/a" }, "unix:/b"] }), true],
      [service({ static: [{ host: "unix:/a", port: 80 }] }), false],
      [service({ static: ["10.0.0.1:80"] }, "or ders"), false],
      [service({ static: ["10.0.0.1:80"] }, "-"), false],
    ];
    for (const [input, right] of cases) {
      expect([input, bySchema(input), byParser(input)]).toEqual([input, right, right]);
    }
  });
});
