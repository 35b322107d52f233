/** The page about gRPC servers and the code say the same. */
import { readFileSync } from "node:fs";
import { status as Status } from "@grpc/grpc-js";
import { DEFAULT_GRPC_LIMITS } from "@inmesh/grpc";
import { expect, test } from "vitest";
import { refusalStatuses } from "../packages/grpc/src/server/refusals.ts";

const page: string = readFileSync(new URL("reference/grpc-server.md", import.meta.url), "utf8");
const rowsOf = (title: string): string[][] => {
  const section = page.split(/^## /m).find((text) => text.startsWith(title)) ?? "";
  return [...section.matchAll(/^\| `([^`]+)` \|(.*)\|$/gm)].map(([, name = "", rest = ""]) => [
    name,
    ...rest.split("|").map((cell) => cell.trim()),
  ]);
};

test("every limit has a row with its default, and nothing else has", () => {
  const documented = rowsOf("Limits").map(([name, value]) => [name, Number(value)]);
  expect(documented).toEqual(Object.entries(DEFAULT_GRPC_LIMITS));
});

test("every refusal has a row with its status, and nothing else has", () => {
  const documented = rowsOf("Refusals").map((cells) => cells.slice(0, 3));
  expect(documented).toEqual(
    Object.entries(refusalStatuses(false)).map(([reason, { code, metadata }]) => [
      reason,
      Status[code],
      metadata!.get("x-mesh-nack").length > 0 ? "yes" : "no",
    ]),
  );
});
