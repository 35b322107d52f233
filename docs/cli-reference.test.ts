/** The page and the schema of the command line, and the program, say the same. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { COLUMNS } from "../packages/inmesh/src/cli/columns.ts";
import { COMMANDS } from "../packages/inmesh/src/cli/commands.ts";
import { EXIT } from "../packages/inmesh/src/cli/failure.ts";
import { CONFIG, ENDPOINTS, SERVICES, TAPPED } from "../packages/inmesh/test/admin-answers.ts";
import { fakeAdmin, run, type FakeAdmin } from "../packages/inmesh/test/fake-admin.ts";
import { cliReference, cliSchema } from "../scripts/cli-reference.ts";

const root: string = join(import.meta.dirname, "..");
const page: string = readFileSync(join(root, "docs/reference/cli.md"), "utf8");
const schema: string = readFileSync(join(root, "docs/reference/cli.schema.json"), "utf8");

it("both are what scripts/write-cli-reference.ts writes", () => {
  expect(page).toBe(cliReference());
  // Formatted by the house.
  expect(JSON.parse(schema)).toEqual(JSON.parse(cliSchema()));
});

it("the page has every command, option, column and exit code", () => {
  for (const [name, { options }] of Object.entries(COMMANDS)) {
    expect(page).toContain(`\n## inmesh ${name}\n`);
    for (const option of Object.keys(options))
      expect(page, name).toMatch(new RegExp(`^\\| \`--${option}[ \`]`, "m"));
    for (const { name: column } of COLUMNS[name] ?? []) expect(page).toContain(`\n| ${column} `);
  }
  for (const code of Object.values(EXIT)) expect(page).toContain(`\n| ${code} | `);
});

it("the page has every environment variable that the program reads", () => {
  const names = globSync("packages/inmesh/src/cli/**/*.ts", { cwd: root }).flatMap((file) => {
    const text = readFileSync(join(root, file), "utf8");
    return [...text.matchAll(/\benv\["(\w+)"\]|\benv: "(\w+)"|\{ (\w+) = "" \} = this\.#env/g)].map(
      ([, a, b, c]) => a ?? b ?? c ?? "",
    );
  });
  expect(new Set(names).size).toBeGreaterThan(6);
  for (const name of names) expect(page).toContain(`\`${name}\``);
});

describe("every document fits the schema", () => {
  let admin: FakeAdmin;
  beforeAll(async () => {
    admin = await fakeAdmin({
      services: SERVICES,
      endpoints: ENDPOINTS,
      config: CONFIG,
      tap: TAPPED,
    });
  });
  afterAll(() => void admin.server.close());
  const validate = new Ajv2020({ allErrors: true, strict: true, allowUnionTypes: true }).compile(
    JSON.parse(schema) as object,
  );

  it.each([
    ["stat", "json"],
    ["stat", "jsonl"],
    ["routes", "json"],
    ["routes", "jsonl"],
    ["endpoints", "json"],
    ["endpoints", "jsonl"],
    ["config", "json"],
    ["config", "jsonl"],
    ["top", "json"],
  ])("%s, %s", async (command, format) => {
    const flags = format === "json" ? ["--json"] : ["-o", format];
    const { code, out } = await run([command, ...flags, "--admin", admin.url]);
    expect(code).toBe(0);
    const documents = format === "json" ? [out] : out.trim().split("\n");
    for (const text of documents) {
      const document = JSON.parse(text) as object;
      const fits = validate(document);
      expect(fits, JSON.stringify(validate.errors)).toBe(true);
      expect(validate({ ...document, apiVersion: "inmesh.dev/v0" })).toBe(false);
    }
  });
});
