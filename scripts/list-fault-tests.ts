/**
 * Prints which cells of docs/faults.md have tests: `C1 LC  packages/http/test/connect.test.ts: …`.
 * With `--write`, names the files in docs/faults.md; what has no test keeps its reason, which begins `not yet: `, or
 * `not applicable: ` where the fault cannot happen on that surface.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { faultTests, filesOf, REASON, SURFACES } from "./fault-tests.ts";

const tests = faultTests();
for (const { id, surface, title, file } of tests) {
  console.log(`${id.padEnd(3)} ${surface}  ${file}: ${title}`);
}
if (process.argv.includes("--write")) {
  const page = join(import.meta.dirname, "../docs/faults.md");
  const cells = filesOf(tests);
  const text = readFileSync(page, "utf8").replace(
    new RegExp(`^\\| ([A-Z]\\d+) \\| (.*) \\| (${SURFACES}|–) \\| (.*) \\|$`, "gm"),
    (row, id: string, fault: string, surface: string, covered: string) => {
      const files = cells.get(`${id} ${surface}`);
      if (files !== undefined) return `| ${id} | ${fault} | ${surface} | ${files} |`;
      return REASON.test(covered)
        ? row
        : `| ${id} | ${fault} | ${surface} | not yet: not written |`;
    },
  );
  writeFileSync(page, text);
}
