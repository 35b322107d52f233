import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { optionsReference } from "../scripts/options-reference.ts";

it("docs/reference/options.md is what scripts/write-options-reference.ts writes", () => {
  const page = readFileSync(new URL("reference/options.md", import.meta.url), "utf8");
  expect(page).toBe(optionsReference());
});
