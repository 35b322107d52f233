/** The pages about headers and limits, and the code, say the same. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { DEFAULT_POLICIES } from "@inmesh/core/spi";
import { DEFAULT_LIMITS, REFUSALS } from "@inmesh/http";
import { CUTS } from "../packages/http/src/server/cuts.ts";
import * as headers from "../packages/http/src/headers.ts";

const read = (name: string): string =>
  readFileSync(new URL(`reference/${name}`, import.meta.url), "utf8");

/** Rows of the tables of a section, cells trimmed, backticks removed from the first. */
function rowsOf(text: string): string[][] {
  return [...text.matchAll(/^\| `([^`]+)`[^|]* \|(.*)\|$/gm)].map(([, name = "", rest = ""]) => [
    name,
    ...rest.split("|").map((cell) => cell.trim()),
  ]);
}

/** One section of a page. */
function section(title: string, page = "headers.md"): string {
  const sections = read(page).split(/^## /m);
  return sections.find((text) => text.startsWith(`${title}\n`)) ?? "";
}

test("every limit has a row with its default, and nothing else has", () => {
  const documented = rowsOf(section("Servers", "limits.md")).map(([name, value]) => [
    name,
    Number(value),
  ]);
  expect(documented).toEqual(Object.entries(DEFAULT_LIMITS));
});

test("every refusal has a row with its status, and nothing else has", () => {
  const documented = rowsOf(section("Refusals")).map((cells) => cells.slice(0, 4));
  const yes = (value: boolean): string => (value ? "yes" : "no");
  expect(documented).toEqual(
    Object.values(REFUSALS).map(({ reason, status, close, nack }) => [
      reason,
      String(status),
      yes(close),
      yes(nack),
    ]),
  );
});

test("everything else that is counted has a row, and nothing else has", () => {
  const documented = rowsOf(section("What is counted", "limits.md")).map(([reason]) => reason);
  expect(documented).toEqual([...CUTS]);
});

test("limits of clients have the defaults that are written", () => {
  const rows = rowsOf(section("Clients", "limits.md"));
  const inForce = (path: string): unknown =>
    path
      .split(".")
      .reduce<unknown>((at, name) => (at as Record<string, unknown>)[name], DEFAULT_POLICIES);
  expect(rows.map(([path = "", value]) => [path, Number(value)])).toEqual(
    rows.map(([path = ""]) => [path, inForce(path)]),
  );
  const limits = Object.keys(DEFAULT_POLICIES.limits).map((name) => `limits.${name}`);
  expect(rows.map(([path]) => path)).toEqual(expect.arrayContaining(limits));
});

test("every header of ours has a row, and nothing else under x-mesh- has", () => {
  const ours = Object.values<unknown>(headers)
    .map(String)
    .filter((value) => /^x-mesh-[\w-]+$/.test(value));
  const documented = ["Requests", "Replies"].flatMap((title) => rowsOf(section(title)));
  const names = documented.map(([name = ""]) => name);
  expect(names.filter((name) => name.startsWith("x-mesh-")).toSorted()).toEqual(ours.toSorted());
  expect(new Set(names).size).toBe(names.length);
});

test("every claim and every trailer that is removed is named", () => {
  const text = section("Removed before the handler");
  const named = [...text.matchAll(/`([a-z0-9-]+\*?)`/g)].map(([, name = ""]) => name);
  for (const name of named) {
    if (name.length < 2 || name === "forwarded" || name === "x-forwarded-for") continue;
    expect(headers.isAllowedTrailer(name.replace("*", "x")), name).toBe(false);
  }
  for (const name of ["forwarded", "x-forwarded-for", "etag", "server-timing"]) {
    expect(headers.isAllowedTrailer(name), name).toBe(true);
  }
});
