/** Which service a request goes to, where the mesh cannot open one. */
import { createMesh } from "@inmesh/core";
import { expect, it, onTestFinished, vi } from "vitest";
import type { ProxyRequest } from "../src/request.ts";
import { AuthorityRouter } from "../src/router.ts";
import { PROXY_HTTP } from "../src/transport.ts";

it("an authority whose service could not be opened never gets that of the request before", () => {
  const mesh = createMesh({
    env: {},
    config: { services: { a: { url: "http://a.test" }, b: { url: "http://b.test" } } },
  });
  onTestFinished(() => mesh.close(0));
  const router = new AuthorityRouter(mesh, PROXY_HTTP);
  const serviceOf = (authority: string): string | undefined =>
    router.serviceOf({ head: { authority } } as ProxyRequest)?.name;
  expect(serviceOf("a")).toBe("a");
  // Such as a mesh that has as many services as it may have.
  vi.spyOn(mesh, "service").mockImplementationOnce(() => {
    throw new Error("no more services");
  });
  expect(() => serviceOf("b")).toThrow("no more services");
  expect(serviceOf("b")).toBe("b");
});
