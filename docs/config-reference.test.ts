import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parseConfigText } from "../packages/core/src/config/sources/file.ts";
import { ConfigError } from "../packages/core/src/config/mistakes.ts";
import { parseConfig } from "../packages/core/src/config/parse.ts";
import { RESERVED_HEADERS } from "../packages/core/src/route/filters.ts";
import { configReference } from "../scripts/config-reference.ts";

const page = readFileSync(new URL("reference/config.md", import.meta.url), "utf8");

describe("docs/reference/config.md", () => {
  it("is what scripts/write-config-reference.ts writes", () => {
    expect(page).toBe(configReference());
  });

  const blocks = [...page.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, text = ""]) => text);

  it("has examples", () => expect(blocks.length).toBeGreaterThan(0));

  it.each(blocks)("has an example that is valid: %#", (text) => {
    const read = parseConfigText(text, "example.yaml");
    if (!read.ok) throw new ConfigError(read.mistakes);
    const result = parseConfig(read.layer.input, "example");
    if (!result.ok) throw new ConfigError(result.mistakes);
  });
});

it("headers.md names what a filter may not change, and all of it is refused", () => {
  const text = readFileSync(new URL("reference/headers.md", import.meta.url), "utf8");
  const [, section = ""] = /^## What a route may not change\n([^]*?)^## /m.exec(text) ?? [];
  const rows = [...section.matchAll(/^\| (`[^|]+`) \|/gm)].map(([, names = ""]) => names);
  const named = rows.flatMap((names) => names.replaceAll("`", "").split(", "));
  expect(named.filter((name) => !name.includes("*")).toSorted()).toEqual(
    [...RESERVED_HEADERS.keys()].toSorted(),
  );
  for (const name of named) {
    const filters = [{ requestHeaderModifier: { remove: [name.replace("*", "x")] } }];
    const services = { orders: { url: "http://orders", routes: [{ filters }] } };
    expect([name, parseConfig({ services }, "test").ok]).toEqual([name, false]);
  }
});
