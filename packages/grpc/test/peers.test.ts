/** Metadata of the mesh goes to services of its own; a third party gets gRPC's own keys and no others. */
import { context, createMesh, ServedRequest } from "@inmesh/core";
import { meshGrpc } from "@inmesh/grpc";
import { expect, it, onTestFinished } from "vitest";
import { get } from "./support/bench.ts";
import { Orders, OrdersServer } from "./support/orders.ts";

const TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

it.each([
  [true, ["traceparent", "x-mesh-hops", "x-mesh-priority"]],
  [false, []],
])("GC: a service with peer: %s gets %j of the request being served", async (peer, expected) => {
  const seen: string[][] = [];
  const orders = new OrdersServer("one", {
    get: (call, done) => {
      seen.push(Object.keys(call.metadata.getMap()));
      done(null, call.request);
    },
  });
  await orders.listen();
  onTestFinished(() => void orders.server.forceShutdown());
  const services = { orders: { discovery: { static: [orders.address] }, peer } };
  const mesh = createMesh({ env: {}, config: { services } });
  onTestFinished(() => mesh.close(0));
  const client = new Orders(...meshGrpc("orders", { mesh }));
  const served = new ServedRequest({ traceparent: TRACE, priority: "critical" });
  await context.run(served, () => get(client, { id: "7" }));
  const ours = seen[0]!.filter((key) => key.startsWith("x-mesh-") || key.startsWith("trace"));
  expect(ours.sort()).toEqual(expected);
});
