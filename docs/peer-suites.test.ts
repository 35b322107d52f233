/** docs/reference/peer-suites.md and scripts/peer-suites/documented.ts say the same. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { DOCUMENTED } from "../scripts/peer-suites/documented.ts";

const root: string = join(import.meta.dirname, "..");
const page: string = readFileSync(join(root, "docs/reference/peer-suites.md"), "utf8");

interface Row {
  readonly place: string;
  readonly alone: number;
  readonly through: number;
  readonly documented: number;
  readonly left: number;
}

const rows: Row[] = [
  ...page.matchAll(/^\| ([a-z-]+) \d[^|]* \| ([a-z]+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$/gm),
].map(([, suite, door, ...numbers]) => {
  const [alone, through, documented, left] = numbers.map(Number) as [
    number,
    number,
    number,
    number,
  ];
  return { place: `${suite} ${door}`, alone, through, documented, left };
});

describe("docs/reference/peer-suites.md", () => {
  it("has rows that add up", () => {
    expect(rows.length).toBeGreaterThan(10);
    for (const { alone, through, documented, left } of rows) {
      expect(through + documented + left).toBe(alone);
    }
  });

  it("counts the differences that are documented by name", () => {
    const named = new Map<string, number>(rows.map(({ place }) => [place, 0]));
    for (const { suite, door, tests } of DOCUMENTED) {
      const place = `${suite} ${door}`;
      named.set(place, named.get(place)! + tests.length);
    }
    expect([...named]).toEqual(rows.map(({ place, documented }) => [place, documented]));
  });
});

describe("documented.ts", () => {
  it("names each test once, and pages that are there", () => {
    const keys = DOCUMENTED.flatMap(({ suite, door, tests }) =>
      tests.map((test) => `${suite} ${door} ${test}`),
    );
    expect(new Set(keys).size).toBe(keys.length);
    for (const { why } of DOCUMENTED) {
      const pages = why.match(/docs\/[a-z0-9/-]+\.md/g) ?? [];
      expect(pages, why).not.toHaveLength(0);
      for (const one of pages) expect(existsSync(join(root, one)), one).toBe(true);
    }
  });
});
