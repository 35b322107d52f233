/** The page about errors and the closed sets of the code say the same. */
import { readFileSync } from "node:fs";
import { ERROR_CODES, ERROR_REASONS } from "@inmesh/core/spi";
import { expect, test } from "vitest";

const page: string = readFileSync(new URL("reference/errors.md", import.meta.url), "utf8");
/** Each `## \`code\`` with the first cells of the table below it. */
const documented: Record<string, string[]> = Object.fromEntries(
  page
    .split(/^## /m)
    .slice(1)
    .filter((section) => section.startsWith("`"))
    .map((section) => [
      /^`(\w+)`/.exec(section)?.[1] ?? "",
      [...section.matchAll(/^\| `(\w+)` \|/gm)].map(([, reason = ""]) => reason),
    ]),
);

test("every code has a section, and nothing else has", () => {
  expect(Object.keys(documented)).toEqual([...ERROR_CODES]);
});

test.each(ERROR_CODES)("every reason of %s has a row, and nothing else has", (code) => {
  expect(documented[code]).toEqual([...ERROR_REASONS[code]]);
});

test("no row leaves a cell empty", () => {
  for (const row of page.slice(page.indexOf("\n## ")).match(/^\| `\w+` \|.*$/gm) ?? []) {
    const cells = row.split("|").slice(1, -1);
    expect(cells, row).toHaveLength(4);
    for (const cell of cells) expect(cell.trim(), row).not.toBe("");
  }
});
