/** The table of faults and the titles of the tests say the same. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { faultTests, filesOf, promiseFiles, REASON, SURFACES } from "../scripts/fault-tests.ts";

const page: string = readFileSync(new URL("faults.md", import.meta.url), "utf8");
const rows: { cell: string; covered: string }[] = [
  ...page.matchAll(new RegExp(`^\\| ([A-Z]\\d+) \\| .+ \\| (${SURFACES}|–) \\| (.+) \\|$`, "gm")),
].map(([, id, surface, covered = ""]) => ({ cell: `${id} ${surface}`, covered }));
const tested: Map<string, string> = filesOf(faultTests());

test("every row that claims a test has one, named by row and surface", () => {
  const claimed = rows.filter(({ covered }) => !REASON.test(covered));
  expect(new Map(claimed.map(({ cell, covered }) => [cell, covered]))).toEqual(tested);
});

test("every row without a test says why", () => {
  for (const { cell, covered } of rows) {
    if (!covered.startsWith("`")) expect(covered, cell).toMatch(REASON);
  }
});

test("no row is missing, and none stands twice", () => {
  const sizes = { C: 21, H: 24, G: 21, D: 22, K: 10, T: 14, L: 11, B: 18, R: 42 };
  const ids = Object.entries(sizes).flatMap(([section, size]) =>
    Array.from({ length: size }, (_, i) => `${section}${i + 1}`),
  );
  expect([...new Set(rows.map(({ cell }) => cell.split(" ")[0]))]).toEqual(ids);
  expect(new Set(rows.map(({ cell }) => cell)).size).toBe(rows.length);
});

test("every promise names the tests that have it in a title, or says what holds it or why nothing does", () => {
  const promises = [...page.matchAll(/^\| (P\d+) \| [^|]+ \| (.+) \|$/gm)];
  expect(promises.map(([, id]) => id)).toEqual(Array.from({ length: 22 }, (_, i) => `P${i + 1}`));
  const files = promiseFiles();
  for (const [, id = "", held = ""] of promises) {
    const named = held.match(/`(?:core|http|inmesh)\/[^`]+\.test\.ts`/g) ?? [];
    for (const file of named) expect(files.get(id), id).toContain(file);
    if (named.length === 0) expect(held, id).toMatch(/^(not yet: |see )\S/);
  }
});
