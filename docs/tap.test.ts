/** The pages about taps and access logs name every option, and every field of what comes out, and no others. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const root: string = join(import.meta.dirname, "..");
const read = (file: string): string => readFileSync(join(root, file), "utf8");
const page: string = read("docs/reference/tap.md");

/** Members of an interface, by what stands in its source. */
function membersOf(file: string, name: string): string[] {
  const source = read(`packages/core/src/${file}`);
  const body = new RegExp(`^export interface ${name}\\b[^{]*\\{\\n([^]*?)^\\}`, "m").exec(
    source,
  )?.[1];
  expect(body, name).toBeDefined();
  return [...body!.matchAll(/^ {2}readonly (\w+)\??:/gm)].map(([, member = ""]) => member);
}

/** In the first cell of the rows of the tables under a heading. */
function rowsUnder(text: string, heading: string): string[] {
  const section = text.split(/^## /m).find((one) => one.startsWith(heading)) ?? "";
  return [...section.matchAll(/^\| (`[^|]+) \|/gm)].flatMap(([, cell = ""]) =>
    [...cell.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name),
  );
}

test("the page of taps has every option once", () => {
  const options = membersOf("tap/options.ts", "TapOptions");
  expect(options).toHaveLength(20);
  expect(rowsUnder(page, "Filter").toSorted()).toEqual(options.toSorted());
});

test("it names every field of an event, of an attempt, and every kind of decision", () => {
  const all = ["TapEnd", "TapCall", "TapRequest", "TapLost", "TapAttempt", "TapDecision"].flatMap(
    (name) => membersOf("tap/event.ts", name),
  );
  expect(all.length).toBeGreaterThan(50);
  for (const field of new Set(all)) expect(page, field).toContain(`\`${field}`);
  const kinds = /readonly what: ([^;]+);/.exec(read("packages/core/src/tap/event.ts"))![1]!;
  for (const [, kind] of kinds.matchAll(/"(\w+)"/g)) expect(page).toContain(`| \`${kind}\` |`);
});

test("the page of access logs has every option and every field of JSON", () => {
  const log = read("docs/reference/access-log.md");
  const options = membersOf("access-log/access-log.ts", "AccessLogOptions");
  const table = log.slice(0, log.indexOf("Wrong options"));
  const documented = [...table.matchAll(/^\| `(\w+)` \|/gm)].map(([, name = ""]) => name);
  expect(documented.toSorted()).toEqual(options.toSorted());
  const source = read("packages/core/src/access-log/json.ts");
  const written = [
    ...source.matchAll(/"((?:inmesh|http|rpc|url|network|user_agent|error)\.[\w.]+)"/g),
  ]
    .map(([, name = ""]) => name)
    .concat("timestamp", "trace_id");
  expect(rowsUnder(log, "Fields of JSON").toSorted()).toEqual([...new Set(written)].toSorted());
});
