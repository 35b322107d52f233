/** The numbers of the comparison are about those of benchmarks/results. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const root: string = join(import.meta.dirname, "..");

interface Results {
  readonly rows: readonly { readonly metric: string; readonly value: number }[];
}

test("docs/comparison.md: every number is within 15 % of the measured one", () => {
  const files = globSync("benchmarks/results/*.json", { cwd: root });
  const measured = new Map(
    files
      .flatMap((file) => (JSON.parse(readFileSync(join(root, file), "utf8")) as Results).rows)
      .map(({ metric, value }) => [metric, value]),
  );
  const page = readFileSync(join(root, "docs/comparison.md"), "utf8");
  const rows = [
    ...page.matchAll(/^\| [^|]+ \| ([\d.]+)(?: ×)? \| `([\w.]+)` \| `npm run bench \w+` \|$/gm),
  ];
  expect(rows.length).toBeGreaterThan(8);
  for (const [, printed, metric = ""] of rows) {
    const value = measured.get(metric);
    expect(value, metric).toBeDefined();
    expect(Math.abs(Number(printed) - value!), metric).toBeLessThanOrEqual(value! * 0.15);
  }
});
