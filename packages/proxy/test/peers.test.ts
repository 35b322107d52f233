/** Clients and servers that are slow, silent or many, and a listener that leaves. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { Socket } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { listening, proxied, rawClient, repliesIn } from "./support/proxied.ts";

async function backend(body = "ok"): Promise<string> {
  const server = createServer((request, response) => {
    request.resume();
    request.on("end", () => response.end(body));
  });
  const port = await listening(server);
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${port}`;
}

/** Everything that a client has been sent, and the end of its connection. */
function watched(socket: Socket): { text: () => string; ended: Promise<unknown> } {
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  const ended = Promise.race([once(socket, "end"), once(socket, "close")]);
  return { text: () => text, ended };
}
const GET = "GET / HTTP/1.1\r\nHost: orders\r\n\r\n";

describe("V15: slow peers end by a clock of the proxy's own", () => {
  it("C8 P11: a head that does not come to its end gets 408", async () => {
    const { port } = await proxied(
      { orders: [await backend()] },
      { listener: { limits: { headersTimeoutMs: 300 } } },
    );
    const socket = await rawClient(port);
    const { text, ended } = watched(socket);
    socket.write("GET / HTTP/1.1\r\nHost: or");
    const drip = setInterval(() => socket.write("d"), 100);
    onTestFinished(() => clearInterval(drip));
    await ended;
    expect(repliesIn(text())).toMatchObject([{ status: 408, body: "head_timeout\n" }]);
  });

  it("a connection without a word is closed without one", async () => {
    const { port, proxy } = await proxied(
      { orders: [await backend()] },
      { listener: { limits: { headersTimeoutMs: 300 } } },
    );
    const { text, ended } = watched(await rawClient(port));
    await ended;
    expect(text()).toBe("");
    await expect.poll(() => proxy.listeners[0]!.connections).toBe(0);
  });

  it("C9 P11: a body that stops, or trickles, gets 408, and its server sees no whole request", async () => {
    let whole = 0;
    const server = createServer((request) => {
      request.resume();
      request.on("error", () => {});
      request.on("end", () => whole++);
    });
    const port = await listening(server);
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    const stops = await proxied(
      { orders: [`127.0.0.1:${port}`] },
      { listener: { limits: { bodyIdleTimeoutMs: 300 } } },
    );
    const trickles = await proxied(
      { orders: [`127.0.0.1:${port}`] },
      { listener: { limits: { bodyRateWindowMs: 500, minBodyRate: 1_000 } } },
    );
    const clients = await Promise.all([rawClient(stops.port), rawClient(trickles.port)]);
    const all = clients.map(watched);
    for (const one of clients)
      one.write("POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 1000000\r\n\r\nabc");
    const drip = setInterval(() => clients[1]!.write("d"), 50);
    onTestFinished(() => clearInterval(drip));
    await Promise.all(all.map(({ ended }) => ended));
    for (const { text } of all)
      expect(repliesIn(text())).toMatchObject([{ status: 408, body: "body_timeout\n" }]);
    expect(whole).toBe(0);
  });

  it("H22 P11: a client that reads nothing is cut off, and its call ends", async () => {
    const { port, mesh, proxy } = await proxied(
      { orders: [await backend("x".repeat(50_000_000))] },
      { listener: { limits: { writeStallTimeoutMs: 500 } } },
    );
    const socket = await rawClient(port);
    socket.pause();
    socket.write(GET);
    await expect.poll(() => mesh.snapshot().services[0]?.callsInFlight).toBe(1);
    await expect.poll(() => proxy.listeners[0]!.connections).toBe(0);
    expect(mesh.snapshot().services[0]!.callsInFlight).toBe(0);
  });

  it("an idle connection is closed after keepAliveIdle", async () => {
    const { port } = await proxied(
      { orders: [await backend()] },
      { listener: { limits: { keepAliveIdleMs: 300 } } },
    );
    const socket = await rawClient(port);
    const { text, ended } = watched(socket);
    socket.write(GET);
    await ended;
    expect(repliesIn(text())).toMatchObject([{ status: 200 }]);
  });
});

describe("what is tolerated once", () => {
  it("S3: a client that goes on with it is asked to leave", async () => {
    const { port } = await proxied(
      { orders: [await backend()] },
      { listener: { limits: { maxGlitches: 2 } } },
    );
    const socket = await rawClient(port);
    const { text, ended } = watched(socket);
    const glitch = "GET / HTTP/1.1\r\nHost: orders\r\ntraceparent: garbage\r\n\r\n";
    socket.write(glitch + glitch + glitch + glitch);
    await ended;
    const closes = repliesIn(text()).map(({ head }) => /connection: close/.test(head));
    expect(closes).toEqual([false, false, true]);
  });

  it("A9: an old connection is asked to leave with its next reply", async () => {
    const { port } = await proxied(
      { orders: [await backend()] },
      { listener: { limits: { maxConnectionAgeMs: 200 } } },
    );
    const socket = await rawClient(port);
    const { text, ended } = watched(socket);
    socket.write(GET);
    await expect.poll(() => repliesIn(text()).length).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    socket.write(GET);
    await ended;
    expect(repliesIn(text()).map(({ head }) => /connection: close/.test(head))).toEqual([
      false,
      true,
    ]);
  });
});

describe("many connections", () => {
  it("above maxConnections none is served", async () => {
    const { port, proxy } = await proxied(
      { orders: [await backend()] },
      { listener: { limits: { maxConnections: 2 } } },
    );
    const first = [await rawClient(port), await rawClient(port)];
    await expect.poll(() => proxy.listeners[0]!.connections).toBe(2);
    const { text, ended } = watched(await rawClient(port));
    await ended;
    expect(text()).toBe("");
    first[0]!.destroy();
    await expect.poll(() => proxy.listeners[0]!.connections).toBe(1);
  });

  it("a thousand idle ones are held, and requests go on", async () => {
    const { port, proxy } = await proxied({ orders: [await backend()] });
    for (let i = 0; i < 10; i++)
      await Promise.all(Array.from({ length: 100 }, () => rawClient(port)));
    await expect.poll(() => proxy.listeners[0]!.connections).toBe(1_000);
    const socket = await rawClient(port);
    const { text } = watched(socket);
    socket.write(GET);
    await expect.poll(() => repliesIn(text()).length).toBe(1);
  });
});

describe("L1 P11: a listener that leaves", () => {
  it("lets what is in progress end, says close, and closes what is idle", async () => {
    let answer: (() => void) | undefined;
    const server = createServer((_, response) => (answer = () => response.end("late")));
    const upstream = await listening(server);
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    const { port, proxy } = await proxied({ orders: [`127.0.0.1:${upstream}`] });
    const busy = await rawClient(port);
    const seen = watched(busy);
    busy.write(GET);
    await expect.poll(() => answer).toBeDefined();
    const idle = watched(await rawClient(port));
    await expect.poll(() => proxy.listeners[0]!.connections).toBe(2);
    const closed = proxy.close(10_000);
    expect(proxy.listeners[0]!.readiness).not.toBe("ok");
    await idle.ended;
    answer!();
    await closed;
    expect(repliesIn(seen.text())).toMatchObject([
      { status: 200, body: "late", head: expect.stringContaining("connection: close") },
    ]);
    expect(proxy.listeners[0]!.connections).toBe(0);
  });

  it("L3 P11: breaks off what is left at the end of the grace", async () => {
    const server = createServer(() => {});
    const upstream = await listening(server);
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    const { port, proxy, mesh } = await proxied({ orders: [`127.0.0.1:${upstream}`] });
    const busy = await rawClient(port);
    const { ended } = watched(busy);
    busy.write(GET);
    await expect.poll(() => mesh.snapshot().services[0]?.callsInFlight).toBe(1);
    await proxy.close(100);
    await ended;
    await expect.poll(() => mesh.snapshot().services[0]!.callsInFlight).toBe(0);
  });
});
