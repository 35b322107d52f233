/** Every private member that is read stands in a page, and a test hides it and plays requests. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { MEMBERS as GRPC } from "../packages/grpc/src/internals.ts";
import { MEMBERS as NODE } from "../packages/http/src/node-internals.ts";

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");

test.for([
  ["Node", NODE, "reference/metrics.md", "../packages/http/test/r-private.test.ts"],
  ["grpc-js", GRPC, "reference/grpc-server.md", "../packages/grpc/test/r-private-grpc-js.test.ts"],
] as const)(
  "every private member of %s is documented, and hidden by a test",
  ([, all, page, tests]) => {
    const rows = read(page)
      .split("\n")
      .filter((line) => line.startsWith("| `"));
    const source = read(tests);
    for (const { name, instead, loss } of Object.values(all)) {
      const member = name.split(/[ ,]+/)[1]!;
      const words = member.split(".");
      const isIn = (row: string): boolean => {
        const first = row.split(" | ")[0]!;
        return first.includes(`\`${member}\``) || words.every((word) => first.includes(word));
      };
      expect(rows.some(isIn), `a row for ${member}`).toBe(true);
      expect(source, `a test that hides ${member}`).toContain(member);
      expect([instead, loss].every((text) => text.length > 0)).toBe(true);
    }
  },
);
