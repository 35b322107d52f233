/** How large a configuration may be, at each limit, one above it, and far above it. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { copyPlain } from "./plain.ts";
import { loadConfig } from "./load.ts";
import { ConfigError, type Mistake } from "./mistakes.ts";

function mistakesOf(load: () => unknown): readonly Mistake[] {
  try {
    load();
  } catch (error) {
    if (error instanceof ConfigError) return error.mistakes;
    throw error;
  }
  return [];
}

const many = <T>(length: number, make: (i: number) => T): T[] =>
  Array.from({ length }, (_, i) => make(i));
const ORDERS = { url: "http://orders" };

describe("a configuration from code", () => {
  const CASES: readonly [string, number, (count: number) => object][] = [
    [
      "services",
      500,
      (count) => ({ services: Object.fromEntries(many(count, (i) => [`s${i}`, ORDERS])) }),
    ],
    [
      "routes",
      500,
      (count) => ({ services: { orders: { ...ORDERS, routes: many(count, () => ({})) } } }),
    ],
    [
      "matches",
      100,
      (count) => ({
        services: {
          orders: {
            ...ORDERS,
            routes: [{ matches: many(count, (i) => ({ path: { value: `/${i}` } })) }],
          },
        },
      }),
    ],
    [
      "conditions of a match",
      16,
      (count) => ({
        services: {
          orders: {
            ...ORDERS,
            routes: [
              { matches: [{ headers: many(count, (i) => ({ name: `h${i}`, value: "1" })) }] },
            ],
          },
        },
      }),
    ],
    [
      "headers in one list of a modifier",
      16,
      (count) => {
        const add = many(count, (i) => ({ name: `h${i}`, value: "1" }));
        const routes = [{ filters: [{ requestHeaderModifier: { add } }] }];
        return { services: { orders: { ...ORDERS, routes } } };
      },
    ],
    [
      "bytes of a modifier",
      8_192,
      (count) => {
        // Four values, so that just above the limit each is still within its own.
        const each = Math.floor(count / 4);
        const add = many(4, (i) => {
          const size = i === 0 ? count - 3 * each : each;
          return { name: `h${i}`, value: "x".repeat(size - 2) };
        });
        const routes = [{ filters: [{ requestHeaderModifier: { add } }] }];
        return { services: { orders: { ...ORDERS, routes } } };
      },
    ],
  ];
  it.each(CASES)("%s: at most %i", (_what, limit, config) => {
    const refused = (count: number): string[] =>
      mistakesOf(() => loadConfig({ code: config(count), env: {} })).map(({ rule }) => rule);
    expect(refused(limit)).toEqual([]);
    for (const count of [limit + 1, 100 * limit]) {
      expect(refused(count).join()).toContain(`at most ${limit}`);
    }
  });

  it.each([
    [32, true],
    [33, false],
    [5_000, false],
  ])("%i levels deep: accepted: %s", (depth, accepted) => {
    let value: unknown = 1;
    for (let i = 0; i <= depth; i++) value = [value];
    const rules: string[] = [];
    copyPlain(value, (_path, rule) => rules.push(rule));
    expect(rules).toEqual(accepted ? [] : ["is nested too deeply"]);
  });
});

describe("a configuration file", () => {
  const MAX_BYTES = 4 * 1024 * 1024;
  it.each([
    [MAX_BYTES, true],
    [MAX_BYTES + 1, false],
    [10 * MAX_BYTES, false],
  ])("%i bytes: accepted: %s", (bytes, accepted) => {
    const folder = mkdtempSync(join(tmpdir(), "limits-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const path = join(folder, "mesh.yaml");
    const text = "services:\n  orders:\n    url: http://orders\n#";
    writeFileSync(path, text + "x".repeat(bytes - text.length));
    const mistakes = mistakesOf(() => loadConfig({ file: path, env: {} }));
    expect(mistakes.map(({ rule }) => rule)).toEqual(accepted ? [] : ["must be at most 4 MiB"]);
  });
});
