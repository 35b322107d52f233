/** The standard metrics of gRPC: one for each call, in both directions, with names of methods that are known. */
import { Client, credentials, Metadata, status as Status } from "@grpc/grpc-js";
import type { Mesh, Series } from "@inmesh/core";
import { createMesh, meshGrpc } from "@inmesh/grpc";
import * as conventions from "@opentelemetry/semantic-conventions";
import { expect, it, onTestFinished } from "vitest";
import { get } from "./support/bench.ts";
import { Orders, OrdersServer, type OrdersHandlers } from "./support/orders.ts";
import { served } from "./support/served.ts";
import { failed } from "./support/wire.ts";
import { freeAddress } from "../../../scripts/free-port.ts";

const CLIENT = conventions.METRIC_RPC_CLIENT_CALL_DURATION;
const SERVER = conventions.METRIC_RPC_SERVER_CALL_DURATION;

type Histogram = Series & { kind: "histogram" };

function counted(mesh: Mesh, name: string): [count: number, labels: Series["labels"]][] {
  const found = mesh.metrics().filter((one): one is Histogram => one.name === name);
  return found.map(({ count, labels }) => [count, labels]);
}

async function serverOf(handlers: Partial<OrdersHandlers>): Promise<string> {
  const server = await new OrdersServer("a", handlers).listen(0);
  onTestFinished(() => server.stop());
  return server.address;
}

function meshOf(address: string): Mesh {
  const orders = { discovery: { static: [address] }, retry: { attempts: 2 } };
  const mesh = createMesh({ env: {}, config: { services: { orders } } });
  onTestFinished(() => mesh.close(0));
  return mesh;
}

const OK = {
  [conventions.ATTR_RPC_SYSTEM_NAME]: conventions.RPC_SYSTEM_NAME_VALUE_GRPC,
  [conventions.ATTR_RPC_METHOD]: "shop.Orders/Get",
  [conventions.ATTR_RPC_STATUS_CODE]: "OK",
  [conventions.ATTR_SERVER_ADDRESS]: "orders",
  [conventions.ATTR_SERVER_PORT]: "80",
};

it("a call is one, however many attempts it took, with the attributes of the conventions", async () => {
  let asked = 0;
  const address = await serverOf({
    get: ({ request }, callback) => {
      if (request.count === 2) return callback({ code: Status.NOT_FOUND, details: "none" });
      if (asked++ === 0) return callback({ code: Status.UNAVAILABLE, details: "once" });
      callback(null, request);
    },
  });
  const orders = {
    discovery: { static: [address] },
    routes: [{ name: "vouched", idempotent: true }],
  };
  const mesh = createMesh({ env: {}, config: { services: { orders } } });
  onTestFinished(() => mesh.close(0));
  const client = new Orders(...meshGrpc("orders", { mesh, definitions: [Orders.service] }));
  await get(client, { count: 1 });
  await failed(get(client, { count: 2 }));
  expect(counted(mesh, CLIENT)).toEqual([
    [1, OK],
    [1, { ...OK, "rpc.status_code": "NOT_FOUND", "error.type": "NOT_FOUND" }],
  ]);
  const one = mesh.metrics().find(({ name }) => name === CLIENT) as Histogram;
  expect(one).toMatchObject({
    unit: "s",
    bounds: [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
  });
});

it("a method is named by definitions of grpc-js and ts-proto and by routes; all others are one", async () => {
  const address = await serverOf({});
  const call = async (mesh: Mesh, client: Client, path: string): Promise<void> => {
    const asBuffer = (value: Buffer): Buffer => value;
    await new Promise((resolve) =>
      client.makeUnaryRequest(path, asBuffer, asBuffer, Buffer.alloc(0), resolve),
    );
    void mesh;
  };
  const rpcMethods = (mesh: Mesh): (string | undefined)[] =>
    counted(mesh, CLIENT).map(([, labels]) => labels["rpc.method"]);

  const plain = meshOf(address);
  const client = new Client(...meshGrpc("orders", { mesh: plain }));
  for (let i = 0; i < 200; i++) await call(plain, client, `/outside.Text${i}/Get`);
  expect(rpcMethods(plain)).toEqual(["_OTHER"]);
  expect(counted(plain, CLIENT)[0]![0]).toBe(200);

  const tsProto = { fullName: "shop.Orders", methods: { get: { name: "Get" } } };
  const defined = meshOf(address);
  const named = new Client(...meshGrpc("orders", { mesh: defined, definitions: [tsProto] }));
  await call(defined, named, "/shop.Orders/Get");
  await call(defined, named, "/shop.Orders/Other");
  expect(rpcMethods(defined).toSorted()).toEqual(["_OTHER", "shop.Orders/Get"]);

  const routed = meshOf(address);
  const byRoute = new Client(...meshGrpc("orders", { mesh: routed }));
  await call(routed, byRoute, "/shop.Orders/Get");
  routed.update({
    services: {
      orders: {
        discovery: { static: [address] },
        routes: [{ matches: [{ method: { service: "shop.Orders", method: "Get" } }] } as never],
      },
    },
  });
  await call(routed, byRoute, "/shop.Orders/Get");
  expect(rpcMethods(routed).toSorted()).toEqual(["_OTHER", "shop.Orders/Get"]);

  for (const wrong of [{}, { get: { path: "Get" } }, "Orders", { fullName: "a", methods: {} }]) {
    expect(() => meshGrpc("orders", { mesh: routed, definitions: [wrong as never] })).toThrow(
      "definitions must hold services",
    );
  }
});

it("a failure of the mesh's own has its reason and the status that its caller sees", async () => {
  const mesh = meshOf(await freeAddress());
  const client = new Orders(...meshGrpc("orders", { mesh, definitions: [Orders.service] }));
  await failed(get(client, {}));
  expect(counted(mesh, CLIENT)).toEqual([
    [1, { ...OK, "rpc.status_code": "UNAVAILABLE", "error.type": "connect_refused" }],
  ]);
  const waiting = new Promise<void>((resolve) => {
    const call = client.get({}, new Metadata(), { deadline: Date.now() + 5_000 }, () => resolve());
    call.cancel();
  });
  await waiting;
  const last = counted(mesh, CLIENT).map(([, labels]) => labels["rpc.status_code"]);
  expect(last.every((status) => ["UNAVAILABLE", "CANCELLED"].includes(status!))).toBe(true);
});

it("a server counts each call, with errors that are its own", async () => {
  const mesh = createMesh({ env: {} });
  onTestFinished(() => mesh.close(0));
  const answers = [Status.OK, Status.NOT_FOUND, Status.INTERNAL];
  const { client } = await served(
    {
      get: ({ request }, callback) => {
        const code = answers[request.count ?? 0]!;
        if (code === Status.OK) return callback(null, request);
        callback({ code, details: "no" });
      },
    },
    { mesh },
  );
  for (const count of answers.keys()) await get(client, { count }).catch(() => {});
  await expect.poll(() => counted(mesh, SERVER).length).toBe(3);
  const common = { "rpc.system.name": "grpc", "rpc.method": "shop.Orders/Get" };
  expect(counted(mesh, SERVER).map(([, labels]) => labels)).toEqual([
    { ...common, "rpc.status_code": "OK" },
    { ...common, "rpc.status_code": "NOT_FOUND" },
    { ...common, "rpc.status_code": "INTERNAL", "error.type": "INTERNAL" },
  ]);
  // What is not registered comes to no server of ours, and makes no series.
  const stray = new Client(
    client.getChannel().getTarget().replace(/^dns:/, ""),
    credentials.createInsecure(),
  );
  onTestFinished(() => stray.close());
  const same = (value: Buffer): Buffer => value;
  await new Promise((resolve) =>
    stray.makeUnaryRequest("/a.B/C", same, same, Buffer.alloc(0), resolve),
  );
  expect(counted(mesh, SERVER)).toHaveLength(3);
});

it("calls in a sampled trace leave exemplars", async () => {
  const serving = createMesh({ env: {} });
  onTestFinished(() => serving.close(0));
  const { orders } = await served(
    { get: ({ request }, callback) => callback(null, request) },
    { mesh: serving },
  );
  const mesh = meshOf(orders.address);
  const client = new Orders(...meshGrpc("orders", { mesh }));
  const traceId = "0af7651916cd43dd8448eb211c80319c";
  const exemplars = (from: Mesh, name: string): string[] =>
    (from.metrics() as Histogram[])
      .filter((one) => one.name === name)
      .flatMap((one) => one.exemplars ?? [])
      .flatMap((one) => (one === undefined ? [] : [one.traceId]));
  for (const flags of ["00", "01"]) {
    const metadata = new Metadata();
    metadata.set("traceparent", `00-${traceId}-b7ad6b7169203331-${flags}`);
    await get(client, {}, {}, metadata);
    const expected = flags === "01" ? [traceId] : [];
    expect(exemplars(mesh, CLIENT)).toEqual(expected);
    await expect.poll(() => exemplars(serving, SERVER)).toEqual(expected);
  }
});
