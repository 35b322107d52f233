/** `servers.<name>` of a mesh's configuration in an HTTP server: what it takes, and what follows a change. */
import { once } from "node:events";
import * as http from "node:http";
import { createMesh, type MeshOptions } from "@inmesh/core";
import { meshServer, type MeshServer, type ServerOptions } from "@inmesh/http";
import { describe, expect, it, onTestFinished } from "vitest";
import { until } from "./wire.ts";

type Servers = NonNullable<NonNullable<MeshOptions["config"]>["servers"]>;

async function serve(
  servers: Servers,
  options: ServerOptions = {},
  handler: http.RequestListener = (_request, response) => void response.end("ok"),
): Promise<{
  readonly server: MeshServer;
  readonly update: (orders: Servers[string]) => void;
  readonly lines: string[];
}> {
  const lines: string[] = [];
  const log = ({ event, message }: { event: string; message: string }): void =>
    void lines.push(`${event} ${message}`);
  const mesh = createMesh({ config: { servers }, env: {}, log });
  const server = meshServer(handler, { name: "orders", mesh, ...options });
  await server.listen(0, "127.0.0.1");
  onTestFinished(async () => {
    await server.close(0);
    await mesh.close(0);
  });
  return { server, lines, update: (orders) => void mesh.update({ servers: { orders } }) };
}

/** Its status, and its body. */
async function get(server: MeshServer, headers: Record<string, string> = {}) {
  const { port } = server.address()!;
  const request = http.get({ port, host: "127.0.0.1", agent: false, headers });
  const [response] = (await once(request, "response")) as [http.IncomingMessage];
  let body = "";
  for await (const piece of response) body += String(piece);
  return { status: response.statusCode, body };
}

describe("servers.<name>", () => {
  it("B8 LS: is taken when the server is made, below what code says", async () => {
    const section = { authorities: ["orders.example"], limits: { maxInFlight: 7, maxHops: 3 } };
    const { server } = await serve({ orders: section }, { limits: { maxHops: 4 } });
    expect(server.snapshot().limits).toMatchObject({
      maxInFlight: 7,
      maxHops: 4,
      maxHeaderCount: 100,
    });
    expect((await get(server, { host: "orders.example" })).status).toBe(200);
    expect((await get(server, { host: "other.example" })).status).toBe(421);
  });

  it("is that of its own name: another server has the defaults", async () => {
    const { server } = await serve({ bills: { limits: { maxInFlight: 7 } } });
    expect(server.snapshot().limits.maxInFlight).toBe(4_096);
  });

  it("B8 LS: the limit on requests in progress follows the configuration while requests run", async () => {
    const held: (() => void)[] = [];
    const { server, update, lines } = await serve(
      { orders: { limits: { maxInFlight: 1 } } },
      {},
      (_request, response) => void held.push(() => response.end("ok")),
    );
    const first = get(server);
    await until(() => held.length === 1);
    expect((await get(server)).status).toBe(503);
    update({ limits: { maxInFlight: 2 } });
    const second = get(server);
    await until(() => held.length === 2);
    expect((await get(server)).status).toBe(503);
    update({ limits: { maxInFlight: 1 } });
    expect(server.snapshot()).toMatchObject({ limits: { maxInFlight: 1 }, pending: [] });
    for (const end of held) end();
    expect([(await first).status, (await second).status]).toEqual([200, 200]);
    expect(lines.filter((line) => line.startsWith("server.pending"))).toEqual([]);
  });

  it("shedding follows it: the heap is watched from then on, and no more", async () => {
    const { server, update } = await serve({ orders: { limits: { maxHeapRatio: 1 } } });
    const refuses = async (): Promise<boolean> => {
      await get(server); // the heap is looked at while requests come
      await new Promise((resolve) => setTimeout(resolve, 100));
      return (await get(server)).status === 503;
    };
    expect(await refuses()).toBe(false);
    update({ limits: { maxHeapRatio: 0.001 } });
    expect(await refuses()).toBe(true);
    expect(server.snapshot().refused).toHaveProperty("heap");
    update({ limits: { maxHeapRatio: 1 } });
    expect(await refuses()).toBe(false);
  });

  it("limits of heads follow it: the next request is held against the new ones", async () => {
    const { server, update } = await serve({ orders: {} });
    const headers = { "x-long": "x".repeat(300) };
    expect((await get(server, headers)).status).toBe(200);
    update({ limits: { maxHeaderValueBytes: 200 } });
    expect((await get(server, headers)).status).toBe(431);
    update({});
    expect((await get(server, headers)).status).toBe(200);
  });

  it("what a server takes when it is made stays, and is named until it agrees again", async () => {
    const { server, update, lines } = await serve({ orders: { posture: "mesh" } });
    const { maxConnections } = server.snapshot().limits;
    update({ posture: "edge", limits: { maxConnections: 5, headersTimeout: "3s", maxHops: 5 } });
    const { limits, pending, posture } = server.snapshot();
    expect(pending).toEqual(["limits.maxConnections", "limits.headersTimeoutMs", "posture"]);
    expect([limits.maxConnections, limits.headersTimeoutMs, limits.maxHops, posture]).toEqual([
      maxConnections,
      10_000,
      5,
      "mesh",
    ]);
    expect(lines.filter((line) => line.startsWith("server.pending"))).toEqual([
      "server.pending orders: the configuration says something else of limits.maxConnections, limits.headersTimeoutMs, posture, which a server takes when it is made: it counts from the next start",
    ]);
    update({ posture: "mesh" });
    expect(server.snapshot().pending).toEqual([]);
  });

  it("what code says is not touched by a change", async () => {
    const { server, update } = await serve({}, { posture: "local", limits: { maxInFlight: 9 } });
    update({ posture: "mesh", limits: { maxInFlight: 1 } });
    expect(server.snapshot()).toMatchObject({
      posture: "local",
      limits: { maxInFlight: 9 },
      pending: [],
    });
  });

  it("a server that closes and listens once more has what is in force by then", async () => {
    const { server, update } = await serve({ orders: {} });
    await server.close(0);
    update({ limits: { maxInFlight: 3 } });
    expect(server.snapshot().limits.maxInFlight).toBe(4_096);
    await server.listen(0, "127.0.0.1");
    expect(server.snapshot().limits.maxInFlight).toBe(3);
  });
});
