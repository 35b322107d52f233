/** `servers.<name>` of a mesh's configuration in a gRPC server: what it takes, and what follows a change. */
import { status as Status } from "@grpc/grpc-js";
import { createMesh } from "@inmesh/grpc";
import { expect, it, onTestFinished } from "vitest";
import { ask, served } from "./support/served.ts";

function meshOf(orders: object) {
  const lines: string[] = [];
  const mesh = createMesh({
    config: { servers: { orders } },
    env: {},
    log: ({ event, message }) => void lines.push(`${event} ${message}`),
  });
  onTestFinished(() => mesh.close(0));
  const update = (next: object): void => void mesh.update({ servers: { orders: next } });
  return { mesh, update, lines };
}

it("B8 GS: is taken when the server is made, below what code says, and its limits follow it", async () => {
  const { mesh, update } = meshOf({ posture: "mesh", limits: { maxInFlight: 0, maxHops: 3 } });
  const { client, server, orders } = await served(
    {},
    { name: "orders", mesh, limits: { maxHops: 4 } },
  );
  expect(server.snapshot()).toMatchObject({
    posture: "mesh",
    limits: { maxInFlight: 0, maxHops: 4, maxMetadataCount: 100 },
  });
  const refused = await ask(client);
  expect(refused.error?.code).toBe(Status.UNAVAILABLE);
  expect(refused.error!.metadata.get("x-mesh-error")).not.toEqual([]); // its posture says why
  update({ posture: "mesh", limits: { maxInFlight: 2 } });
  expect((await ask(client)).error).toBeNull();
  expect((await ask(client, { "x-mesh-hops": "5" })).error?.code).toBe(Status.INTERNAL);
  expect(orders.calls).toBe(1);
});

it("limits of metadata follow it: the next call is held against the new ones", async () => {
  const { mesh, update } = meshOf({});
  const { client } = await served({}, { name: "orders", mesh });
  const long = { "x-long": "x".repeat(900) };
  expect((await ask(client, long)).error).toBeNull();
  update({ limits: { maxMetadataBytes: 800 } });
  expect((await ask(client, long)).error?.code).toBe(Status.RESOURCE_EXHAUSTED);
});

it("what a server takes when it is made stays, and is named until it agrees again", async () => {
  const { mesh, update, lines } = meshOf({});
  const { server } = await served({}, { name: "orders", mesh });
  update({ limits: { maxMessageBytes: 100 }, keepMetadata: ["x-user-id"] });
  expect(server.snapshot()).toMatchObject({
    pending: ["limits.maxMessageBytes", "keepMetadata"],
    limits: { maxMessageBytes: 4_194_304 },
  });
  expect(lines.filter((line) => line.startsWith("server.pending"))).toHaveLength(1);
  update({});
  expect(server.snapshot().pending).toEqual([]);
});
