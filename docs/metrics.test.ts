/** The page about metrics and the instruments of the code say the same. */
import { readFileSync } from "node:fs";
import { INSTRUMENTS } from "@inmesh/core/spi";
import { expect, test } from "vitest";

interface Row {
  readonly name: string;
  readonly unit: string;
  readonly meaning: string;
}

const page: string = readFileSync(new URL("reference/metrics.md", import.meta.url), "utf8");
const rows: Row[] = [...page.matchAll(/^\| `(inmesh\.[^`]+)` \|([^\n]+)\|$/gm)].map(
  ([, name = "", rest = ""]) => {
    const cells = rest.split("|").map((cell) => cell.trim());
    return { name, unit: (cells[1] ?? "").replaceAll("`", ""), meaning: cells.at(-1) ?? "" };
  },
);

test("every instrument is documented, in its unit and its own words, and nothing else is", () => {
  const byName = (a: Row, b: Row): number => (a.name < b.name ? -1 : 1);
  const written = INSTRUMENTS.map(({ name, unit, description }) => ({
    name,
    unit,
    meaning: description,
  }));
  expect(rows.toSorted(byName)).toEqual(written.toSorted(byName));
});
