/** Sections B and L of the fault matrix, mesh-proxy: what happens to its process: no time, no memory, no right clock, and many who look. */
import { mkdtempSync, rmSync } from "node:fs";
import { get } from "node:http";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createMesh } from "@inmesh/http";
import { expect, it, onTestFinished } from "vitest";
import { RawClient, type RawReply } from "../../http/test/support/raw-client.ts";
import { startProxy } from "../src/index.ts";
import { origin1 } from "./support/http2.ts";
import { listening } from "./support/proxied.ts";
import { proxyChild } from "./support/proxy-child.ts";

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const GET = "GET / HTTP/1.1\r\nhost: orders\r\n\r\n";

const answering = (): Promise<string> =>
  origin1((request, response) => {
    request.resume();
    response.end("ok");
  });

async function clientsOf(port: number, count: number): Promise<RawClient[]> {
  const clients = await Promise.all(Array.from({ length: count }, () => RawClient.to(port)));
  onTestFinished(() => clients.forEach(({ socket }) => socket.destroy()));
  return clients;
}

it("B6 P11: while its event loop stalls, what is more than it can serve is refused with 503 and a nack, it is not ready, and it recovers", async () => {
  let served = 0;
  const address = await origin1((request, response) => {
    served++;
    request.resume();
    response.end("ok");
  });
  const proxy = await proxyChild({
    service: { discovery: { static: [address] } },
    limits: { maxLoopDelayMs: 60 },
  });
  const clients = await clientsOf(proxy.port, 60);
  const ask = (client: RawClient): Promise<RawReply> => {
    client.send(GET);
    return client.reply(30_000);
  };
  expect((await ask(clients[0]!)).status).toBe(200);
  await proxy.order({ busyMs: 150 });
  // Each client asks again when it has its reply, for as long as the stall takes to be seen as one.
  const replies: RawReply[] = [];
  const load = { isOver: false };
  const loops = clients.map(async (client) => {
    while (!load.isOver) replies.push(await ask(client));
  });
  await expect
    .poll(() => replies.filter(({ status }) => status === 503).length, { timeout: 30_000 })
    .toBeGreaterThan(20);
  const during = await proxy.order();
  load.isOver = true;
  await proxy.order({ busyMs: 0 });
  await Promise.all(loops);
  const refused = replies.filter(({ status }) => status === 503);
  expect(new Set(refused.map(({ body }) => body))).toEqual(new Set(["loop_delay\n"]));
  expect(refused[0]!.head).toMatch(/\r\nretry-after: 1\r\n/);
  expect(refused[0]!.head).toMatch(/\r\nx-mesh-nack: 1/);
  expect(during.readiness).toBe("overloaded");
  const { refused: counted } = await proxy.order();
  expect(counted).toEqual({ loop_delay: refused.length });
  // Those never reached the server.
  expect(served).toBe(1 + replies.length - refused.length);
  await expect.poll(async () => (await ask(clients[0]!)).status).toBe(200);
  await expect.poll(async () => (await proxy.order()).readiness).toBe("ok");
}, 60_000);

it("B7 P11: a heap that is nearly full refuses with 503 and a nack, is not ready, and recovers", async () => {
  const proxy = await proxyChild(
    {
      service: { discovery: { static: [await answering()] } },
      limits: { maxLoopDelayMs: 60_000 },
    },
    ["--max-old-space-size=64", "--max-semi-space-size=4"],
  );
  const [client] = await clientsOf(proxy.port, 1);
  const ask = async (): Promise<RawReply> => {
    client!.send(GET);
    return client!.reply(60_000);
  };
  expect((await ask()).status).toBe(200);
  let held = 0;
  let reply = await ask();
  for (; reply.status === 200; held++) {
    await proxy.order({ hold: 2 });
    await pause(1); // a look comes every 20 ms
    reply = await ask();
  }
  expect(reply).toMatchObject({ status: 503, body: "heap\n" });
  expect(reply.head).toMatch(/\r\nretry-after: 1\r\n/);
  expect(reply.head).toMatch(/\r\nx-mesh-nack: 1/);
  // Not from the start: some ten megabytes were let in.
  expect(held).toBeGreaterThan(20);
  expect((await proxy.order()).readiness).toBe("overloaded");
  const { refused } = await proxy.order({ free: true });
  expect(refused["heap"]).toBeGreaterThan(0);
  while ((await ask()).status !== 200) await pause(5);
  await expect.poll(async () => (await proxy.order()).readiness).toBe("ok");
  expect(proxy.exited()).toBe(false);
}, 120_000);

it("B18 P11: readers of metrics that take nothing, and many that say nothing, are bounded, and no request waits for them", async () => {
  const gone = Array.from({ length: 4_000 }, (_, i) => `127.1.${i >> 8}.${i & 255}:1`);
  const mesh = createMesh({
    env: {},
    config: {
      services: {
        orders: { discovery: { static: [await answering()] } },
        many: { discovery: { static: gone } },
      },
    },
  });
  const proxy = startProxy({ mesh, listeners: [{ name: "out", mode: "outbound" }] });
  const server = createServer({ allowHalfOpen: true }, (socket) =>
    proxy.listeners[0]!.handle(socket, undefined, "http1"),
  );
  const port = await listening(server);
  const folder = mkdtempSync(join(tmpdir(), "mesh-proxy-"));
  // What the kernel keeps of a Unix socket is little.
  const socketPath = join(folder, "admin.sock");
  const admin = await mesh.admin.listen({ socketPath });
  onTestFinished(async () => {
    server.close();
    await proxy.close(0);
    await mesh.close(0);
    rmSync(folder, { recursive: true });
  });
  const [client] = await clientsOf(port, 1);
  const ask = async (host = "orders"): Promise<number> => {
    client!.send(`GET / HTTP/1.1\r\nhost: ${host}\r\n\r\n`);
    return (await client!.reply()).status;
  };
  expect(await ask()).toBe(200);
  // Its endpoints are known from its first call on.
  await ask("many");
  const authorization = `Bearer ${admin.token}`;
  const look = (path: string): Promise<number> =>
    new Promise((resolve, reject) => {
      get({ socketPath, path, headers: { authorization }, agent: false }, (reply) => {
        reply.resume();
        reply.on("end", () => resolve(reply.statusCode!));
      }).on("error", reject);
    });
  expect(await look("/metrics")).toBe(200);
  const silent = (): Socket => {
    const socket = connect(socketPath);
    socket.on("error", () => {});
    onTestFinished(() => void socket.destroy());
    return socket;
  };
  const stuck = Array.from({ length: 40 }, () => {
    const socket = silent();
    socket.pause();
    socket.write(
      `GET /api/v1/endpoints HTTP/1.1\r\nhost: x\r\nauthorization: ${authorization}\r\n\r\n`,
    );
    return socket;
  });
  await expect.poll(() => look("/metrics")).toBe(503);
  const load = { isOver: false };
  const loading = (async () => {
    const statuses = new Set<number>();
    while (!load.isOver) statuses.add(await ask());
    return statuses;
  })();
  const crowd = Array.from({ length: 200 }, silent);
  await expect
    .poll(() => crowd.filter(({ destroyed }) => destroyed).length)
    .toBeGreaterThanOrEqual(200 - 64);
  // Orchestrators are answered all the same.
  expect(await look("/livez")).toBe(200);
  expect(await look("/metrics")).toBe(503);
  load.isOver = true;
  expect(await loading).toEqual(new Set([200]));
  for (const socket of stuck) socket.destroy();
  await expect.poll(() => look("/metrics")).toBe(200);
});

it("L8 P11: each look at the wall clock shows another time, and nothing is early, late or negative", async () => {
  let down = false;
  const sockets = new Set<object>();
  const address = await origin1((request, response) => {
    sockets.add(request.socket);
    request.resume();
    if (request.url === "/hang") return;
    const isFirst = request.headers["x-mesh-attempt"] === undefined;
    if (request.url === "/reset-first" && isFirst) {
      request.socket.resetAndDestroy();
      return;
    }
    response.statusCode = down ? 500 : 200;
    response.end("ok");
  });
  const clock = new URL("../../http/test/children/jumping-clock.ts", import.meta.url).href;
  const proxy = await proxyChild(
    {
      service: {
        discovery: { static: [address, await answering()] },
        balancer: { kind: "round-robin" },
        breaker: { minOpenMs: 200, maxOpenMs: 400 },
      },
    },
    [`--import=${clock}`],
  );
  const [client] = await clientsOf(proxy.port, 1);
  const timed = async (path: string, fields = ""): Promise<{ status: number; tookMs: number }> => {
    const startedAt = performance.now();
    client!.send(`GET ${path} HTTP/1.1\r\nhost: orders\r\n${fields}\r\n`);
    const { status } = await client!.reply(30_000);
    return { status, tookMs: performance.now() - startedAt };
  };
  for (let i = 0; i < 30; i++) expect((await timed("/")).status).toBe(200);
  // A connection that looks an hour old is still a fresh one.
  expect(sockets.size).toBe(1);
  const late = [
    await timed("/hang", "x-mesh-timeout-ms: 200\r\n"),
    await timed("/hang", "x-mesh-timeout-ms: 200\r\n"),
  ].find(({ status }) => status !== 200)!;
  expect(late.status).toBe(504);
  expect(late.tookMs).toBeGreaterThan(150);
  expect(late.tookMs).toBeLessThan(5_000);
  for (let i = 0; i < 2; i++) {
    const again = await timed("/reset-first");
    expect(again.status).toBe(200);
    expect(again.tookMs).toBeLessThan(5_000);
  }
  const until = async (state: string): Promise<void> => {
    await expect
      .poll(
        async () => {
          for (let i = 0; i < 5; i++) await timed("/");
          const look = await proxy.order();
          return look.state;
        },
        { interval: 10 },
      )
      .toBe(state);
  };
  down = true;
  await until("open");
  down = false;
  await until("closed");
  const { metrics, jumpedMs } = await proxy.order();
  expect(jumpedMs).toBeGreaterThan(3_000_000);
  const durations = metrics.filter(({ name }) => name.endsWith(".duration"));
  expect(durations.length).toBeGreaterThan(2);
  for (const one of durations) {
    if (!("sum" in one)) continue;
    expect(one.sum, one.name).toBeGreaterThanOrEqual(0);
    // In seconds: nothing took longer than this test.
    expect(one.sum / Math.max(1, one.count), one.name).toBeLessThan(30);
  }
}, 60_000);
