/** The version that metrics tell is the one that is published. */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { VERSION } from "../packages/core/src/version.ts";

const packages = new URL("../packages/", import.meta.url);

test.each(readdirSync(packages))("%s has the version that the code says", (name) => {
  const text = readFileSync(new URL(`${name}/package.json`, packages), "utf8");
  expect((JSON.parse(text) as { version: string }).version).toBe(VERSION);
});
