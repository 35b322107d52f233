/**
 * What each command prints, at 80 and at 200 columns and in a locale without UTF-8, compared with files that were
 * read by eye. `npx vitest run cli-golden -u` writes them anew: read what has changed.
 */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ABOUT, CONFIG, ENDPOINTS, EXPLANATION, SERVICES, TAPPED } from "./admin-answers.ts";
import { checksOfProcess } from "./checks-of-process.ts";
import { fakeAdmin, run, type FakeAdmin } from "./fake-admin.ts";

let admin: FakeAdmin;
beforeAll(async () => {
  process.env["TZ"] = "UTC";
  admin = await fakeAdmin({
    about: ABOUT,
    services: SERVICES,
    endpoints: ENDPOINTS,
    config: CONFIG,
    explain: EXPLANATION,
    checks: await checksOfProcess(),
    tap: TAPPED,
  });
});
afterAll(() => void admin.server.close());

const COMMANDS: readonly (readonly [name: string, args: readonly string[]])[] = [
  ["stat", ["stat"]],
  ["stat-wide", ["stat", "-o", "wide"]],
  ["routes", ["routes"]],
  ["routes-wide", ["routes", "-o", "wide"]],
  ["endpoints", ["endpoints"]],
  ["endpoints-wide", ["endpoints", "-o", "wide"]],
  ["tap", ["tap"]],
  ["tap-attempts", ["tap", "--attempts"]],
  ["top", ["top", "--sort", "worst"]],
  ["top-routes", ["top", "--routes", "--sort", "route"]],
  ["explain", ["explain", "GET", "http://orders.shop/v1/orders/42", "-H", "x-tier: gold"]],
  ["check", ["check"]],
  ["check-verbose", ["check", "--verbose"]],
  ["config", ["config"]],
  ["version", ["version"]],
];

describe.each([80, 200])("at %d columns", (columns) => {
  it.each(COMMANDS)("inmesh %s", async (name, args) => {
    const { out, err } = await run([...args, "--admin", admin.url], { columns });
    // In the first line of `top` stands how long it ran, and in that of `version` the Node of this test.
    const text = `${out}--- stderr\n${err}`
      .replace(/ calls in [\d.]+ms/, " calls in 12ms")
      .replace(`, on ${process.version}\n`, ", on v24.21.0\n");
    await expect(text).toMatchFileSnapshot(golden(`${name}-${columns}.txt`));
    for (const line of out.split("\n")) expect(line.length, line).toBeLessThanOrEqual(columns);
  });
});

it.each(COMMANDS)("inmesh %s is ASCII alone in a locale without UTF-8", async (name, args) => {
  const { out, err } = await run([...args, "--admin", admin.url], {
    columns: 80,
    env: { LANG: "C" },
  });
  expect(out + err).toMatch(/^[\x20-\x7e\n]+$/);
  if (name === "check" || name === "tap") {
    await expect(out).toMatchFileSnapshot(golden(`${name}-ascii.txt`));
  }
});

function golden(name: string): string {
  return join(import.meta.dirname, "golden/cli", name);
}
