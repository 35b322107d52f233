/** P2: what a source of the application throws stays news of discovery. */
import { expect, it } from "vitest";
import { Call } from "../call.ts";
import { createMesh } from "../mesh.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { StubRequest, stubProtocol } from "../testing/stub-transport.ts";
import type { Discovery, EndpointSink, EndpointWatch } from "./discovery.ts";

const boom = (): never => {
  throw new Error("boom");
};

function meshWith(watch: (sink: EndpointSink) => EndpointWatch) {
  const runtime = new SimRuntime(1);
  const discovery: Discovery = { source: "own", watch };
  const mesh = createMesh({ env: {}, runtime, discovery: () => discovery });
  const protocol = stubProtocol((exchange) => exchange.reply());
  const service = mesh.service("orders", protocol, { discovery: { static: ["10.0.0.1:80"] } });
  const call = () => service.current(new Call("orders", new StubRequest("/"), true, true));
  const errors = (): number =>
    mesh
      .metrics()
      .filter(({ name }) => name === "inmesh.discovery.errors")
      .reduce((sum, series) => sum + ("value" in series ? series.value : 0), 0);
  return { runtime, mesh, call, errors };
}

it("P2: a watch that throws is a discovery without an answer yet", async () => {
  const { runtime, mesh, call, errors } = meshWith(boom);
  const failing = expect(call()).rejects.toMatchObject({
    code: "no_endpoint",
    reason: "discovery_pending",
    progress: "not-sent",
    cause: { message: "boom" },
  });
  await runtime.advance(3_000);
  await failing;
  expect(errors()).toBe(1);
  expect(mesh.snapshot().services[0]!.discovery).toMatchObject({ error: "boom" });
  await mesh.close(0);
});

it("P2: a watch that throws after it has answered keeps its answer", async () => {
  const { mesh, call, errors } = meshWith((sink) => {
    sink.replace([{ host: "10.0.0.1", port: 80 }]);
    return boom();
  });
  expect((await call()).code).toBe(200);
  expect(errors()).toBe(1);
  expect(mesh.snapshot().services[0]!.discovery).toMatchObject({ state: "stale", error: "boom" });
  await mesh.close(0);
});

it("P2: a watch whose stop throws does not fail the close", async () => {
  const { mesh, call } = meshWith((sink) => {
    sink.replace([{ host: "10.0.0.1", port: 80 }]);
    return { refresh: boom, stop: boom };
  });
  expect((await call()).code).toBe(200);
  await mesh.close(0);
  expect(mesh.snapshot().state).toBe("closed");
});
