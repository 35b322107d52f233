/** The page about the log and the events in the code say the same. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { LOG_EVENTS } from "@inmesh/core/spi";
import { expect, test } from "vitest";

const root: string = join(import.meta.dirname, "..");
const page: string = readFileSync(join(root, "docs/reference/log.md"), "utf8");
const rows: string[][] = [...page.matchAll(/^\| (`\w+\.\w+` \|.*) \|$/gm)].map(([, row = ""]) =>
  row.split("|").map((cell) => cell.trim()),
);

/** Files that may write lines. */
const sources: readonly string[] = globSync("packages/*/src/**/*.ts", { cwd: root })
  .filter((file) => !file.includes(".test.") && !file.endsWith("/log.ts"))
  .map((file) => readFileSync(join(root, file), "utf8"));

test("every event has a row with its level, and nothing else has", () => {
  const documented = rows.map(([event = "", level]) => [event.replaceAll("`", ""), level]);
  expect(Object.fromEntries(documented)).toEqual(LOG_EVENTS);
  expect(documented).toHaveLength(Object.keys(LOG_EVENTS).length);
});

test("no row leaves a cell empty", () => {
  for (const row of rows) {
    expect(row, row[0]).toHaveLength(4);
    for (const cell of row) expect(cell, row[0]).not.toBe("");
  }
});

test.each(Object.keys(LOG_EVENTS))("%s is written somewhere", (event) => {
  // RefusalLog puts two words together.
  const [side, what] = event.split(".");
  const together = what === "refusing" || what === "accepting";
  const found = sources.some((text) =>
    together
      ? text.includes(`side: "${side}"`) && text.includes("new RefusalLog")
      : text.includes(`"${event}"`),
  );
  expect(found).toBe(true);
});

test("lines that name their level themselves name that of the list", () => {
  const named = sources.flatMap((text) => [
    ...text.matchAll(/level: "(\w+)",\s+event: "([\w.]+)"/g),
  ]);
  expect(named.length).toBeGreaterThan(5);
  for (const [, level, event = ""] of named) {
    expect(`${event} ${level}`).toBe(`${event} ${LOG_EVENTS[event as keyof typeof LOG_EVENTS]}`);
  }
});
