/** Metrics of gRPC's connections, and of what its servers refuse, on real sockets. */
import { credentials, Metadata, status as Status } from "@grpc/grpc-js";
import type { EndedAttempt, EndedRequest, Mesh } from "@inmesh/core";
import { createMesh, meshGrpc } from "@inmesh/grpc";
import { expect, it, onTestFinished } from "vitest";
import { TestCa } from "../../http/test/support/ca.ts";
import { readSeries as read } from "../../http/test/support/series.ts";
import { get } from "./support/bench.ts";
import { Orders } from "./support/orders.ts";
import { ask, served } from "./support/served.ts";
import { clientOf, failed, sleep, until } from "./support/wire.ts";
import { freeAddress } from "../../../scripts/free-port.ts";

function meshOf(): Mesh {
  const mesh = createMesh({ env: {} });
  onTestFinished(() => mesh.close(0));
  return mesh;
}

it("connections are counted as they open, are used again and close, with their bytes", async () => {
  const mesh = meshOf();
  const { orders, server } = await served({}, { mesh, name: "orders" });
  const { mesh: outside, client } = clientOf([orders.address]);
  const attempts: EndedAttempt[] = [];
  outside.observe({ attemptEnded: (attempt) => void attempts.push(attempt) });
  for (let i = 0; i < 3; i++) await get(client, { count: i, blob: Buffer.alloc(1_000) });
  expect(attempts.map(({ connectionReused }) => connectionReused)).toEqual([false, true, true]);
  const grpc = { protocol: "grpc", mtls: "false" };
  expect(read(outside, "inmesh.connections", { direction: "outbound", ...grpc })).toBe(1);
  expect(read(mesh, "inmesh.connections", { direction: "inbound", ...grpc })).toBe(1);
  const opened = { service: "orders", protocol: "grpc", reason: "none" };
  expect(read(outside, "inmesh.connection.opened", opened)).toBe(1);
  expect(read(mesh, "inmesh.connection.opened", opened)).toBe(1);
  const reuse = (result: string): number | undefined =>
    read(outside, "inmesh.connection.reuse", { service: "orders", result });
  expect([reuse("new"), reuse("reused")]).toEqual([1, 2]);
  expect(read(outside, "inmesh.connect.duration", { service: "orders", phase: "tcp" })).toBe(1);
  expect(read(outside, "inmesh.queue.duration", { service: "orders" })).toBe(1);
  const io = (one: Mesh, op: string): number =>
    read(one, "inmesh.io", { service: "orders", op, zone: "unknown" })!;
  expect(io(outside, "sent")).toBeGreaterThan(3_000);
  await until(() => io(mesh, "received") === io(outside, "sent"));
  await until(() => io(outside, "received") === io(mesh, "sent"));
  expect(read(mesh, "inmesh.handles", { kind: "server" })).toBe(1);
  expect(read(mesh, "inmesh.bounded.size", { structure: "connections" })).toBe(1);

  await server.drain(2_000);
  await until(() => read(outside, "inmesh.connections", { direction: "outbound" }) === 0);
  await until(() => read(mesh, "inmesh.connections", { direction: "inbound" }) === 0);
  const closed = (one: Mesh, trigger: string): number | undefined =>
    read(one, "inmesh.connection.closed", { trigger });
  expect([closed(outside, "peer"), closed(mesh, "drain")]).toEqual([1, 1]);
  expect(read(mesh, "inmesh.handles", { kind: "server" })).toBe(0);
});

it("the close of a mesh has a trigger of its own, and the server sees its peer go", async () => {
  const mesh = meshOf();
  const { orders } = await served({}, { mesh });
  const { mesh: outside, client } = clientOf([orders.address]);
  await get(client, { count: 1 });
  await outside.close(0);
  await until(() => read(outside, "inmesh.connection.closed", { trigger: "shutdown" }) === 1);
  await until(() => read(mesh, "inmesh.connection.closed", { trigger: "peer" }) === 1);
});

it("a connection that does not come about is counted with its reason", async () => {
  const { mesh, client } = clientOf([await freeAddress()], {
    retry: { attempts: 1 },
  });
  await failed(get(client, {}));
  const refused = { direction: "outbound", protocol: "grpc", reason: "connect_refused" };
  expect(read(mesh, "inmesh.connection.opened", refused)).toBeGreaterThan(0);
  expect(read(mesh, "inmesh.connections")).toBeUndefined();
});

it("TLS handshakes are counted with their time at both ends", async () => {
  const ca = new TestCa();
  const { cert, key } = ca.issue({ names: ["orders.test"] });
  const mesh = meshOf();
  const { server, orders } = await served({}, { mesh, tls: { cert, key } });
  expect(orders.address).not.toBe("");
  const port = await server.listen("127.0.0.1:0");
  const outside = createMesh({
    env: {},
    config: {
      services: {
        orders: {
          scheme: "https",
          authority: "orders.test",
          discovery: { static: [`127.0.0.1:${port}`] },
          tls: { ca: ca.cert },
        },
      },
    },
  });
  onTestFinished(() => outside.close(0));
  const client = new Orders(...meshGrpc("orders", { mesh: outside }));
  await get(client, { count: 1 });
  for (const [one, direction] of [
    [outside, "outbound"],
    [mesh, "inbound"],
  ] as const) {
    expect(read(one, "inmesh.tls.handshakes", { direction, result: "ok" })).toBe(1);
    expect(read(one, "inmesh.tls.handshake.duration", { direction })).toBe(1);
    const connections = { direction, protocol: "grpc", mtls: "false" };
    expect(read(one, "inmesh.connections", connections)).toBe(1);
  }
  expect(read(outside, "inmesh.connect.duration", { phase: "tls" })).toBe(1);
  const expiry = read(mesh, "inmesh.cert.expiry.timestamp", { identity: "files", kind: "leaf" });
  expect(expiry).toBeGreaterThan(Date.now() / 1_000);

  const distrustful = createMesh({
    env: {},
    config: {
      services: {
        orders: {
          scheme: "https",
          authority: "orders.test",
          discovery: { static: [`127.0.0.1:${port}`] },
          tls: { ca: new TestCa("other").cert },
          retry: { attempts: 1 },
        },
      },
    },
  });
  onTestFinished(() => distrustful.close(0));
  await failed(get(new Orders(...meshGrpc("orders", { mesh: distrustful })), {}));
  const untrusted = { direction: "outbound", result: "peer_untrusted" };
  expect(read(distrustful, "inmesh.tls.handshakes", untrusted)).toBeGreaterThan(0);
  await until(() => (read(mesh, "inmesh.tls.handshakes", { direction: "inbound" }) ?? 0) > 1);
});

it("what a server refuses is counted by kind, and streams by who reset them", async () => {
  const mesh = meshOf();
  const { client, server } = await served(
    { get: () => {} },
    { mesh, posture: "mesh", limits: { maxInFlight: 1, maxHops: 1 } },
  );
  expect(server.state).toBe("open");
  const call = client.get({}, new Metadata(), () => {});
  await until(() => read(mesh, "inmesh.call.active", { direction: "inbound" }) === 1);
  expect((await ask(client)).error?.code).toBe(Status.UNAVAILABLE);
  const shed = { direction: "inbound", protocol: "grpc", reason: "concurrency" };
  expect(read(mesh, "inmesh.shed", shed)).toBe(1);
  expect(read(mesh, "inmesh.concurrency.limit", { direction: "inbound" })).toBe(1);
  call.cancel();
  await until(() => read(mesh, "inmesh.streams.reset", { trigger: "client" }) === 1);
  await ask(client, { "x-mesh-hops": "9" });
  expect(read(mesh, "inmesh.requests.rejected", { reason: "loop" })).toBe(1);
});

it("an outbound call that is given up is a stream that this side has reset", async () => {
  const { orders } = await served({ get: () => {} });
  const { mesh, client } = clientOf([orders.address]);
  const call = client.get({}, new Metadata(), () => {});
  await until(() => read(mesh, "inmesh.connections", { protocol: "grpc" }) === 1);
  await sleep(50);
  call.cancel();
  const byUs = { direction: "outbound", trigger: "client" };
  await until(() => read(mesh, "inmesh.streams.reset", byUs) === 1);
});

it("an observer gets the bytes of a served call", async () => {
  const mesh = meshOf();
  const ended: EndedRequest[] = [];
  mesh.observe({ servedEnded: (one) => void ended.push(one) });
  const { orders } = await served({}, { mesh });
  const client = new Orders(orders.address, credentials.createInsecure());
  onTestFinished(() => client.close());
  const blob = Buffer.alloc(500);
  await new Promise<void>((resolve, reject) =>
    client.get({ blob }, (error) => (error === null ? resolve() : reject(error))),
  );
  await until(() => ended.length === 1);
  expect(ended[0]!.receivedBytes).toBeGreaterThanOrEqual(505);
  expect(ended[0]!.receivedBytes).toBeLessThan(520);
  expect(ended[0]!.sentBytes).toBeGreaterThan(5);
});
