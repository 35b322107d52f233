/** The pages about the API of one process say what the code does. */
import { readFileSync } from "node:fs";
import { CHECKS } from "@inmesh/core/spi/inspect";
import { KUBERNETES_CHECKS } from "../packages/discovery-k8s/src/checks.ts";
import { WORKER_CHECKS } from "../packages/proxy/src/workers/view.ts";
import { expect, it } from "vitest";
import { STATUS } from "../packages/http/src/admin/listener.ts";
import { RESOURCES } from "../packages/http/src/admin/resources.ts";
import { adminPage, adminSchema } from "../scripts/admin-reference.ts";

const page = readFileSync(new URL("reference/admin-api.md", import.meta.url), "utf8");
const checks = readFileSync(new URL("reference/checks.md", import.meta.url), "utf8");

it("schema and tables are what scripts/write-admin-reference.ts writes", () => {
  const schema = readFileSync(new URL("reference/admin-api.schema.json", import.meta.url), "utf8");
  expect(schema).toBe(adminSchema());
  expect(page).toBe(adminPage());
});

it("every failure stands on the page with its status, and no other", () => {
  const rows = [...page.matchAll(/^\| `(\w+)` \| (\d{3}) \| \S/gm)];
  expect(Object.fromEntries(rows.map(([, code, status]) => [code, Number(status)]))).toEqual(
    STATUS,
  );
});

it("every resource stands on the page with its methods and parameters, and no other", () => {
  const rows = [...page.matchAll(/^\| ([A-Z, ]+) `\/api\/v1\/([\w-]+)` \| yes \| (.*) \|$/gm)];
  const documented = rows.map(([, methods = "", name = "", text = ""]) => [
    name,
    {
      methods: methods.split(", ").toSorted(),
      parameters: [...text.matchAll(/`\?(\w+)=/g)].map(([, parameter]) => parameter),
    },
  ]);
  const known = Object.entries(RESOURCES).map(([name, { methods, parameters }]) => [
    name,
    { methods: Object.keys(methods).toSorted(), parameters },
  ]);
  const tap = ["tap", { methods: ["GET"], parameters: ["service"] }];
  const byName = (a: unknown[], b: unknown[]): number => (String(a[0]) < String(b[0]) ? -1 : 1);
  expect(documented.toSorted(byName)).toEqual([...known, tap].toSorted(byName));
});

it("every check has a section under its group, and no other", () => {
  const sections = [...checks.matchAll(/^(##|###) (.+)$/gm)].map(([, level, title = ""]) =>
    level === "##" ? `${title.toLowerCase()}:` : title,
  );
  const all = { ...CHECKS, workers: WORKER_CHECKS, kubernetes: KUBERNETES_CHECKS };
  expect(sections).toEqual(Object.entries(all).flatMap(([group, ids]) => [`${group}:`, ...ids]));
});

it("what the page says in shell is what can be asked", () => {
  const asked = [...page.matchAll(/(?:http:\/\/\S*?|localhost)(\/api\/v1\/[\w-]+)/g)];
  expect(asked.length).toBeGreaterThan(3);
  for (const [, path = ""] of asked) {
    expect(["tap", ...Object.keys(RESOURCES)]).toContain(path.slice("/api/v1/".length));
  }
});
