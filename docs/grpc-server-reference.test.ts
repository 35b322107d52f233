/** The page about gRPC servers and the code say the same. */
import { readFileSync } from "node:fs";
import { status as Status } from "@grpc/grpc-js";
import { DEFAULT_GRPC_LIMITS } from "@inmesh/grpc";
import { expect, test } from "vitest";
import { SHARED_REFUSALS } from "@inmesh/core/spi";
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
  const statusOf = refusalStatuses(false);
  expect(documented).toEqual(
    Object.entries(SHARED_REFUSALS).map(([reason, refusal]) => {
      const { code, metadata } = statusOf(refusal);
      return [reason, Status[code], metadata!.get("x-mesh-nack").length > 0 ? "yes" : "no"];
    }),
  );
});
