/** The page about traces and the names in the code say the same, and the standard ones are the standard's. */
import { readFileSync } from "node:fs";
import * as conventions from "@opentelemetry/semantic-conventions";
import { expect, it } from "vitest";
import { EVENTS, NAMES } from "../packages/core/src/traces/attributes.ts";

const page: string = readFileSync(new URL("reference/traces.md", import.meta.url), "utf8");

/** First cells of the table under a heading, as code. */
function rows(heading: string): string[] {
  const [, from = ""] = page.split(`\n## ${heading}\n`);
  const [section = ""] = from.split("\n## ");
  return [...section.matchAll(/^\| `([^`]+)` \|/gm)].map(([, name = ""]) => name);
}

it("has every attribute and every event, and no others", () => {
  expect(rows("Attributes").toSorted()).toEqual(Object.values(NAMES).toSorted());
  expect(rows("Events").toSorted()).toEqual(Object.values(EVENTS).toSorted());
});

it("attributes that are not ours are stable ones of the semantic conventions", () => {
  const stable: ReadonlySet<unknown> = new Set(Object.values(conventions));
  const theirs = Object.values(NAMES).filter((name) => !name.startsWith("inmesh."));
  expect(theirs.filter((name) => !stable.has(name))).toEqual([]);
});
