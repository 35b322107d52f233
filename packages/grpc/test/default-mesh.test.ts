/** Clients that name no mesh, of two protocols in one process. */
import { expect, it } from "vitest";
import { runChild } from "./support/children.ts";

interface Report {
  readonly asked: string;
  readonly services: readonly string[];
}

it.each([
  ["early", "the same"],
  ["late", "the default mesh was made before @inmesh/http was imported"],
])("both share one default mesh, HTTP imported %s", async (when, asked) => {
  const report = await runChild<Report>("default-mesh.ts", [when]);
  expect(report).toEqual({ asked, services: ["grpc orders", "http orders"] });
});
