/** Sections L, B and D of the fault matrix, mesh-proxy: ends, overload, and endpoints that there are not. */
import { createServer } from "node:http";
import { AheadRuntime } from "@inmesh/core/testing";
import { staticDiscovery, type EndpointSink } from "@inmesh/core/spi";
import { describe, expect, it, onTestFinished } from "vitest";
import { h2Peer, head } from "../../http/test/support/h2-peer.ts";
import { exchangeRaw, listening, rawClient, repliesIn } from "./support/proxied.ts";
import { own, peerOf, through } from "./support/surfaces.ts";
import { freeAddress } from "../../../scripts/free-port.ts";

const GET = "GET / HTTP/1.1\r\nHost: orders\r\n\r\n";

describe("ends", () => {
  it("L2 P11, L3 P11: closed twice: the second time with no grace ends what hangs at once", async () => {
    const peer = await peerOf("P11", ({ raw }) => raw.hold());
    const { port, proxy, mesh } = await through("P11", [peer.address]);
    const socket = await rawClient(port);
    const ended = new Promise((resolve) => socket.on("close", resolve));
    socket.on("end", () => socket.end()).resume();
    socket.write(GET);
    await expect.poll(() => peer.requests).toBe(1);
    const startedAt = performance.now();
    const first = proxy.close(60_000);
    await proxy.close(0);
    await first;
    await ended;
    expect(performance.now() - startedAt).toBeLessThan(10_000);
    await expect.poll(() => mesh.snapshot().services[0]!.callsInFlight).toBe(0);
    await proxy.close();
  });

  it("L9 P11: nothing is accepted once it has closed, and nothing hangs", async () => {
    const peer = await peerOf("P11", (request) => request.answer());
    const { port, proxy } = await through("P11", [peer.address]);
    await proxy.close(0);
    const { text, closed } = await exchangeRaw(port, GET);
    expect([text, closed]).toEqual(["", true]);
    expect(proxy.listeners[0]!.snapshot().refused).toMatchObject({ connections: 1 });
    expect(peer.requests).toBe(0);
  });

  it("L7 P11: after a process stood still, connections that its peers may have forgotten are not used", async () => {
    const runtime = new AheadRuntime();
    // A connection that was there before is never answered again, as one that a firewall has forgotten.
    const peer = await peerOf("P11", (request) =>
      runtime.aheadMs > 0 && request.connection === 1 ? undefined : request.answer(),
    );
    const { ask, mesh } = await through("P11", [peer.address], {}, { mesh: { runtime } });
    expect((await ask()).status).toBe(200);
    runtime.aheadMs += 60_000;
    expect((await ask("POST", {}, "x")).status).toBe(200);
    expect(peer.connections).toBe(2);
    expect(mesh.snapshot().services[0]!.endpoints[0]!.breaker.state).toBe("closed");
  });

  it.each(["P11", "P22"] as const)(
    "L1 P11, L1 P22: servers are replaced one after the other under load, %s: no request fails",
    async (surface) => {
      const sinks: EndpointSink[] = [];
      const start = async (): Promise<{ address: string; end: () => Promise<void> }> => {
        let isLeaving = false;
        const peer = await peerOf(surface, (request) =>
          isLeaving ? request.answerAndLeave() : request.answer(),
        );
        return { address: peer.address, end: async () => void (isLeaving = true) };
      };
      let servers = [await start(), await start()];
      const endpoints = () =>
        servers.map(({ address }) => ({ host: "127.0.0.1", port: Number(address.split(":")[1]) }));
      const first = staticDiscovery(endpoints());
      const { ask } = await through(
        surface,
        [],
        { discovery: undefined, url: "http://orders.test", retry: { attempts: 2, backoff: "1ms" } },
        {
          mesh: {
            discovery: () => ({
              source: "test",
              watch: (sink) => (sinks.push(sink), first.watch(sink)),
            }),
          },
        },
      );
      const seen: string[] = [];
      const load = { isOver: false };
      onTestFinished(() => void (load.isOver = true));
      const clients = Array.from({ length: 4 }, async () => {
        while (!load.isOver) {
          const one = await ask();
          seen.push(one.status === 200 ? "200" : own(one));
        }
      });
      for (let i = 0; i < 4; i++) {
        await new Promise((resolve) => setTimeout(resolve, 40));
        const [oldest, other] = servers;
        servers = [other!, await start()];
        for (const sink of sinks) sink.replace(endpoints());
        await oldest!.end();
      }
      load.isOver = true;
      await Promise.all(clients);
      // As many as a busy machine makes in that time.
      expect(seen.length).toBeGreaterThan(10);
      expect(new Set(seen)).toEqual(new Set(["200"]));
    },
  );
});

describe("overload", () => {
  it("B1 P22: everything fails: what is offered to the server stays within the budget of retries", async () => {
    let requests = 0;
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      for (;;) {
        const id = await connection.request();
        requests++;
        await connection.write(head(id, { ":status": "503" }, true));
      }
    });
    const { ask } = await through("P22", [peer.address], {
      retry: { attempts: 3, backoff: "1ms", maxBackoff: "2ms" },
    });
    for (let i = 0; i < 100; i++) expect((await ask()).status).toBeGreaterThanOrEqual(500);
    // A fifth more, and one a second with what was saved for the start.
    expect(requests).toBeLessThanOrEqual(100 * 1.2 + 20);
  });

  it("B4 P22: all endpoints refuse: 503 within milliseconds, and no queue", async () => {
    const { ask, mesh } = await through("P22", [await freeAddress(), await freeAddress()]);
    for (let i = 0; i < 4; i++) await ask("POST", {}, "x");
    const startedAt = performance.now();
    const seen = await Promise.all(Array.from({ length: 50 }, () => ask("POST", {}, "x")));
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    expect(seen.filter((one) => own(one) === "503 all_open").length).toBeGreaterThan(40);
    expect(mesh.snapshot().services[0]!.callsInFlight).toBe(0);
  });

  it("B13 P22: a request that is a retry already is sent once", async () => {
    const peer = await peerOf("P22", ({ raw }) => raw.rst());
    const { ask } = await through(
      "P22",
      [peer.address],
      { retry: { attempts: 3, backoff: "1ms", maxBackoff: "2ms" } },
      { listener: { posture: "mesh" } },
    );
    expect((await ask("GET", { "x-mesh-attempt": "2" })).status).toBe(502);
    expect(peer.requests).toBe(1);
  });

  it("B10 P11: 2,000 hosts and paths that are not known: as many series of metrics as for one", async () => {
    const peer = await peerOf("P11", (request) => request.answer());
    const { port, mesh } = await through("P11", [peer.address]);
    const send = async (from: number): Promise<void> => {
      const bytes = Array.from(
        { length: 1_000 },
        (_, i) => `GET /${from + i} HTTP/1.1\r\nHost: h${from + i}\r\n\r\n`,
      ).join("");
      const { text } = await exchangeRaw(port, bytes, {
        until: (all) => all.split("404 Not Found").length === 1_001,
      });
      expect(repliesIn(text)).toHaveLength(1_000);
    };
    await send(0);
    const before = mesh.metrics().length;
    await send(1_000);
    // Gauges of the event loop come once it has been looked at.
    expect(mesh.metrics().length).toBeLessThan(before + 10);
    expect(mesh.snapshot().services.length).toBeLessThanOrEqual(1);
  });
});

describe("endpoints that there are not", () => {
  it("D2 P22: none, with authority: 503 no_endpoints at once", async () => {
    const { ask } = await through(
      "P22",
      [],
      { discovery: undefined, url: "http://orders.test" },
      { mesh: { discovery: () => staticDiscovery([]) } },
    );
    const startedAt = performance.now();
    expect(own(await ask("POST", {}, "x"))).toBe("503 no_endpoints");
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });

  it("D1 P22: discovery has no first answer: 503 discovery_pending, and not before it had some time", async () => {
    const { ask } = await through(
      "P22",
      [],
      { discovery: undefined, url: "http://orders.test" },
      {
        mesh: {
          discovery: () => ({ source: "silent", watch: () => ({ stop() {}, refresh() {} }) }),
        },
      },
    );
    expect(own(await ask("GET", { "x-mesh-timeout-ms": "30000" }))).toBe("503 discovery_pending");
  });

  it("D16 P22: a service that is taken out: what is in flight ends well, and what follows is 404", async () => {
    let answer: (() => void) | undefined;
    const peer = await peerOf("P22", async (request) => {
      await new Promise<void>((resolve) => (answer = resolve));
      await request.answer("late");
    });
    const { ask, mesh } = await through("P22", [peer.address]);
    const first = ask();
    await expect.poll(() => answer).toBeDefined();
    await mesh.update({ services: {} });
    expect(own(await ask())).toMatch(/^404 no_route\n.*: none\.$/);
    answer!();
    expect(await first).toMatchObject({ status: 200, body: "late", whole: true });
  });
});

describe("a server that restarts", () => {
  it("L1 P11: a server of node:http that closes under load: no request fails", async () => {
    const start = async (): Promise<{ port: number; close: () => void }> => {
      const server = createServer((request, response) => {
        request.resume();
        response.end("ok");
      });
      const port = await listening(server);
      onTestFinished(() => void server.close());
      return { port, close: () => void server.close() };
    };
    const [one, two] = [await start(), await start()];
    const { ask } = await through("P11", [`127.0.0.1:${one.port}`, `127.0.0.1:${two.port}`], {
      retry: { attempts: 2, backoff: "1ms" },
    });
    const statuses: (number | undefined)[] = [];
    for (let i = 0; i < 100; i++) {
      statuses.push((await ask()).status);
      if (i === 30) one.close();
    }
    expect(new Set(statuses)).toEqual(new Set([200]));
  });
});
