/** Section C of the fault matrix, library client: connect and transport. */
import dns from "node:dns";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { type AddressInfo } from "node:net";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import type { MeshError } from "@inmesh/core/spi";
import {
  countResources,
  expectBaseline,
  FaultPeer,
  type FaultScript,
  type ResourceCount,
} from "@inmesh/core/testing";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { answer, bench, calm, endpointOf, failure, sleep } from "./support/bench.ts";
import { runStarved, startBlackHole, startChild } from "./support/children.ts";
import { freeAddress } from "../../../scripts/free-port.ts";

type Looked = (error: null, addresses: readonly dns.LookupAddress[]) => void;

/** Answers every request with its own path. */
const echo: FaultScript = async (connection) => {
  for (;;) {
    const { head } = await connection.readRequest();
    await connection.write(answer(pathOf(head)));
  }
};

function pathOf(head: string): string {
  return head.split(" ")[1]!;
}

async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  const startedAt = performance.now();
  try {
    return await promise;
  } finally {
    expect(performance.now() - startedAt).toBeLessThan(ms);
  }
}

let baseline: ResourceCount;
const warnings: Error[] = [];
const warned = (warning: Error): void => void warnings.push(warning);

beforeAll(async () => {
  // What vitest and the modules open once must not count.
  const peer = await FaultPeer.start(echo);
  {
    await using one = bench([peer.address]);
    await (await one.client.fetch("/")).text();
  }
  await peer.close();
  await using _child = await startChild("ready(1)");
  baseline = countResources();
  process.on("warning", warned);
});

afterAll(async () => {
  process.off("warning", warned);
  await expectBaseline(baseline);
  expect(warnings.map(String)).toEqual([]);
});

describe("C: connect and transport, library client", () => {
  it("C1 LC: connection refused goes to the next endpoint at once, for a POST too", async () => {
    const dead = await freeAddress();
    const peer = await FaultPeer.start(echo);
    await using one = bench([dead, peer.address], { balancer: { kind: "round-robin" } });
    for (let i = 0; i < 30; i++) {
      const method = i % 2 === 0 ? "POST" : "GET";
      const body = method === "POST" ? "x" : null;
      const reply = await within(500, one.client.fetch(`/${i}`, { method, body }));
      expect(await reply.text()).toBe(`/${i}`);
    }
    // Out on the first strike; at most a probe or two after it.
    expect(endpointOf(one.mesh, dead).breaker.state).not.toBe("closed");
    expect(endpointOf(one.mesh, dead).picks).toBeLessThan(5);
    expect(peer.requests).toHaveLength(30);
    await peer.close();
  });

  it("C1 LC: a burst of which half meets no server is answered by the other endpoint, whatever the budget", async () => {
    const dead = await freeAddress();
    const peer = await FaultPeer.start(echo);
    await using one = bench([dead, peer.address]);
    await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        const reply = await one.client.fetch(`/${i}`, { method: "POST", body: "x" });
        expect(await reply.text()).toBe(`/${i}`);
      }),
    );
    expect(endpointOf(one.mesh, dead).picks).toBeGreaterThan(50);
    expect(one.mesh.snapshot().services[0]!.retryBudget.withdrawn).toBe(0);
    await peer.close();
  });

  it("C1 LC: refused by the only endpoint surfaces as not sent", async () => {
    const dead = await freeAddress();
    await using one = bench([dead]);
    const error = await within(1_000, failure(one.client.fetch("/", { method: "POST" })));
    expect(error).toMatchObject({
      code: "connect_failed",
      reason: "connect_refused",
      progress: "not-sent",
      endpoint: dead,
    });
  });

  it("C2 LC: a black hole ends at the connect timeout and goes to the next endpoint", async () => {
    await using hole = await startBlackHole();
    const dead = `127.0.0.1:${hole.port}`;
    const peer = await FaultPeer.start(echo);
    await using one = bench([dead, peer.address], { timeouts: { connectMs: 200 } });
    await Promise.all(
      Array.from({ length: 10 }, async (_, i) => {
        const init = { method: "POST", body: "x" };
        const reply = await within(600, one.client.fetch(`/${i}`, init));
        expect(await reply.text()).toBe(`/${i}`);
      }),
    );
    expect(endpointOf(one.mesh, dead).picks).toBeGreaterThan(0);
    expect(endpointOf(one.mesh, dead).breaker.state).not.toBe("closed");
    await peer.close();
  });

  it("C2 LC: a black hole alone surfaces as connect_timeout, not sent", async () => {
    await using hole = await startBlackHole();
    await using one = bench([`127.0.0.1:${hole.port}`], { timeouts: { connectMs: 150 } });
    const error = await within(600, failure(one.client.fetch("/", { method: "POST" })));
    expect(error).toMatchObject({
      code: "connect_failed",
      reason: "connect_timeout",
      progress: "not-sent",
    });
  });

  it("C3 LC: IPv6 of a dual-stack endpoint is dropped; IPv4 connects within 350 ms", async (context) => {
    const hole = await startBlackHole("::1").catch(() => undefined);
    if (hole === undefined) return context.skip("no IPv6 loopback here");
    const server = createServer((_, response) => response.end("four"));
    server.listen(hole.port, "127.0.0.1");
    await once(server, "listening");
    // One name with two addresses; net.connect looks it up through this function.
    const both = [
      { address: "::1", family: 6 },
      { address: "127.0.0.1", family: 4 },
    ];
    const lookup = vi.spyOn(dns, "lookup").mockImplementation(((
      _: string,
      __: object,
      done: Looked,
    ) => {
      process.nextTick(done, null, both);
    }) as never);
    const address = `dual.test:${hole.port}`;
    try {
      await using one = bench([address]);
      const startedAt = performance.now();
      const reply = await within(450, one.client.fetch("/", { method: "POST" }));
      expect(await reply.text()).toBe("four");
      expect(performance.now() - startedAt).toBeGreaterThan(240);
      expect(lookup).toHaveBeenCalled();
      expect(endpointOf(one.mesh, address)).toMatchObject({
        picks: 1,
        breaker: { state: "closed" },
      });
    } finally {
      lookup.mockRestore();
      await stop(server);
      await hole[Symbol.asyncDispose]();
    }
  });

  for (const end of ["fin", "rst"] as const) {
    it(`C4 LC: ${end} before any response byte, on new and reused connections`, async () => {
      // The first request of a connection is answered, the second is not.
      const bad = await FaultPeer.start(async (connection) => {
        if (connection.number % 2 === 0) {
          const { head } = await connection.readRequest();
          await connection.write(answer(pathOf(head)));
        }
        await connection.readRequest();
        connection[end]();
      });
      const good = await FaultPeer.start(echo);
      await using one = bench([bad.address, good.address], {
        retryBudget: { ratio: 1, minPerSecond: 50 },
        breaker: { consecutiveFailures: 1_000 },
        balancer: { kind: "round-robin" },
      });
      let lost = 0;
      for (let i = 0; i < 20; i++) {
        expect(await (await one.client.fetch(`/get${i}`)).text()).toBe(`/get${i}`);
        try {
          const reply = await one.client.fetch(`/post${i}`, { method: "POST", body: "x" });
          expect(await reply.text()).toBe(`/post${i}`);
        } catch (error) {
          lost++;
          expect(error).toMatchObject({
            code: "connection_lost",
            reason: "reset_before_response",
            progress: "maybe-processed",
          });
        }
      }
      expect(bad.connections).toBeGreaterThan(1);
      expect(lost).toBeGreaterThan(0);
      const posts = [...bad.requests, ...good.requests].filter(({ head }) =>
        head.startsWith("POST"),
      );
      expect(new Set(posts.map(({ head }) => pathOf(head))).size).toBe(posts.length);
      await Promise.all([bad.close(), good.close()]);
    });
  }

  it("C5 LC: keep-alive race: GETs never fail, POSTs are never sent twice", async () => {
    let turn = 0;
    const peer = await FaultPeer.start(async (connection) => {
      for (let i = 0; i < 3; i++) {
        const { head } = await connection.readRequest();
        await connection.write(answer(pathOf(head)));
      }
      // From "before the client could know" to "long after".
      await connection.pause((turn++ % 9) / 3);
      if (turn % 2 === 0) connection.fin();
      else connection.rst();
    });
    await using one = bench([peer.address], {
      retry: { attempts: 5, backoffMs: 1, maxBackoffMs: 2 },
      retryBudget: { ratio: 1, minPerSecond: 100 },
    });
    let number = 0;
    const worker = async (method: string): Promise<void> => {
      for (let i = 0; i < 150; i++) {
        const path = `/${method}/${number++}`;
        try {
          const reply = await one.client.fetch(
            path,
            method === "POST" ? { method, body: "x" } : {},
          );
          expect(await reply.text()).toBe(path);
        } catch (error) {
          expect(method).toBe("POST");
          expect(error).toMatchObject({ code: "connection_lost" });
          const { progress, attempts } = error as MeshError;
          // Else three re-sends have met a connection that closed at that moment, each another one.
          if (progress !== "maybe-processed") expect(attempts).toBe(4);
        }
        await sleep(i % 4);
      }
    };
    await Promise.all(["GET", "POST", "GET", "POST"].map(worker));
    const posts = peer.requests
      .map(({ head }) => pathOf(head))
      .filter((path) => path.startsWith("/POST"));
    expect(new Set(posts).size).toBe(posts.length);
    expect(peer.connections).toBeGreaterThan(50);
    await peer.close();
  });

  it("C7 LC: a frozen peer is avoided before its timeout; late answers are discarded", async () => {
    const source = `
      const server = require("node:http").createServer((request, response) => response.end(request.url));
      server.keepAliveTimeout = 65_000;
      server.listen(0, "127.0.0.1", () => ready(server.address().port));
    `;
    await using frozen = await startChild(source);
    await using second = await startChild(source);
    await using third = await startChild(source);
    const address = `127.0.0.1:${frozen.port}`;
    await using one = bench([address, `127.0.0.1:${second.port}`, `127.0.0.1:${third.port}`], {
      timeouts: { requestMs: 3_000, backendRequestMs: 1_800 },
    });
    let number = 0;
    let failed = 0;
    const pending = new Set<Promise<void>>();
    const call = async (): Promise<void> => {
      const path = `/${number++}`;
      try {
        const reply = await one.client.fetch(path);
        expect(await reply.text()).toBe(path);
      } catch {
        failed++;
      }
    };
    const load = async (ms: number): Promise<void> => {
      const until = performance.now() + ms;
      while (performance.now() < until) {
        const done = call().finally(() => pending.delete(done));
        pending.add(done);
        await sleep(3);
      }
    };
    await load(400);
    frozen.process.kill("SIGSTOP");
    await load(500);
    const before = { picks: endpointOf(one.mesh, address).picks, all: number };
    await load(1_000);
    const picks = endpointOf(one.mesh, address).picks - before.picks;
    expect(picks).toBeLessThanOrEqual(Math.ceil((number - before.all) * 0.02));
    await load(500);
    frozen.process.kill("SIGCONT");
    await load(200);
    await Promise.all(pending);
    expect(failed).toBe(0);
  });

  it("C8 LC: a head at one byte per 100 ms ends at the deadline", async () => {
    const peer = await FaultPeer.start(async (connection) => {
      await connection.readRequest();
      for (const byte of answer("late")) {
        await connection.write(byte);
        await connection.pause(100);
        if (connection.gone) return;
      }
    });
    await using one = bench([peer.address]);
    const error = await within(
      450,
      failure(one.client.fetch("/", { method: "POST", timeoutMs: 400 })),
    );
    expect(error).toMatchObject({ code: "deadline_exceeded", reason: "call_deadline" });
    await calm(one.mesh);
    expect(peer.requests).toHaveLength(1);
    await peer.close();
  });

  it("C8 LC: the attempt's timeout is total, however the head dribbles", async () => {
    const slow = await FaultPeer.start(async (connection) => {
      await connection.readRequest();
      for (const byte of answer("late")) {
        await connection.write(byte);
        await connection.pause(50);
        if (connection.gone) return;
      }
    });
    await using one = bench([slow.address], {
      timeouts: { backendRequestMs: 200 },
      retry: { attempts: 1 },
    });
    const error = await within(350, failure(one.client.fetch("/")));
    expect(error).toMatchObject({ code: "deadline_exceeded", reason: "attempt_timeout" });
    await slow.close();
  });

  for (const read of ["bytes", "stream"] as const) {
    it(`C9 LC: a body that stalls ends at the idle timer, one that dribbles at the deadline (${read})`, async () => {
      const peer = await FaultPeer.start(async (connection) => {
        const { head } = await connection.readRequest();
        await connection.write("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nabc");
        while (pathOf(head) === "/dribble" && !connection.gone) {
          await connection.pause(40);
          await connection.write(".");
        }
        await connection.hold();
      });
      await using one = bench([peer.address], { timeouts: { bodyIdleMs: 200 } });
      const stalled = await one.client.fetch("/stall");
      const idle = await within(
        400,
        failure(read === "bytes" ? stalled.bytes() : text(stalled.body)),
      );
      expect(idle).toMatchObject({ code: "deadline_exceeded", reason: "idle_timeout" });
      const startedAt = performance.now();
      const dribbling = await one.client.fetch("/dribble", { timeoutMs: 500 });
      const late = await failure(read === "bytes" ? dribbling.bytes() : text(dribbling.body));
      expect(late).toMatchObject({ code: "deadline_exceeded", reason: "call_deadline" });
      const took = performance.now() - startedAt;
      expect(took).toBeGreaterThan(450);
      expect(took).toBeLessThan(5_000);
      await peer.close();
    });
  }

  it("C10 LC: RST after the whole request: a POST surfaces, a GET is sent again", async () => {
    const bad = await FaultPeer.start(async (connection) => {
      await connection.readRequest();
      connection.rst();
    });
    const good = await FaultPeer.start(echo);
    {
      await using one = bench([bad.address]);
      const body = "y".repeat(100_000);
      const error = await failure(one.client.fetch("/p", { method: "POST", body }));
      expect(error).toMatchObject({
        code: "connection_lost",
        reason: "reset_before_response",
        progress: "maybe-processed",
        attempts: 1,
      });
      expect(bad.requests).toHaveLength(1);
      expect(bad.requests[0]!.body).toHaveLength(100_000);
    }
    await using both = bench([bad.address, good.address], { retryBudget: { ratio: 1 } });
    for (let i = 0; i < 10; i++) {
      expect(await (await both.client.fetch(`/${i}`)).text()).toBe(`/${i}`);
    }
    await Promise.all([bad.close(), good.close()]);
  });

  for (const framing of ["content-length", "chunked"] as const) {
    for (const read of ["bytes", "stream", "web", "late"] as const) {
      it(`C11 LC: killed in the middle of a ${framing} body (${read})`, async () => {
        const headers = framing === "chunked" ? "{}" : `{ "content-length": "1000" }`;
        await using child = await startChild(`
          const server = require("node:http").createServer((request, response) => {
            response.writeHead(200, ${headers});
            response.write("half");
          });
          server.listen(0, "127.0.0.1", () => ready(server.address().port));
        `);
        await using one = bench([`127.0.0.1:${child.port}`]);
        const reply = await one.client.fetch("/");
        const read1 = async (): Promise<unknown> => {
          if (read === "stream") return text(reply.body);
          if (read === "web") return text(reply.webBody);
          if (read === "late") await sleep(150);
          return reply.bytes();
        };
        const reading = failure(read1());
        await sleep(20);
        child.process.kill("SIGKILL");
        expect(await reading).toMatchObject({
          code: "connection_lost",
          reason: "reset_mid_response",
          attempts: 1,
        });
      });
    }
  }

  for (const size of [4, 300_000]) {
    for (const read of ["bytes", "stream", "late"] as const) {
      it(`C12 LC: RST in a close-delimited body of ${size} bytes is an error (${read})`, async () => {
        const peer = await FaultPeer.start(async (connection) => {
          await connection.readRequest();
          await connection.write(`HTTP/1.1 200 OK\r\n\r\n${"z".repeat(size)}`);
          await connection.pause(30);
          connection.rst();
        });
        await using one = bench([peer.address]);
        const reply = await one.client.fetch("/");
        if (read === "late") await sleep(100);
        const error = await failure(read === "stream" ? text(reply.body) : reply.bytes());
        expect(error).toMatchObject({ code: "connection_lost", reason: "reset_mid_response" });
        await peer.close();
      });
    }
    it(`C12 LC: FIN ends a close-delimited body of ${size} bytes`, async () => {
      const peer = await FaultPeer.start(async (connection) => {
        await connection.readRequest();
        await connection.write(`HTTP/1.1 200 OK\r\n\r\n${"z".repeat(size)}`);
        await connection.pause(10);
        connection.fin();
      });
      await using one = bench([peer.address]);
      const now = await one.client.fetch("/");
      expect(await now.bytes()).toHaveLength(size);
      const later = await one.client.fetch("/");
      await sleep(60);
      expect(await later.bytes()).toHaveLength(size);
      await peer.close();
    });
  }

  // Surplus that comes after the next request was written cannot be distinguished from its answer.
  for (const delay of [-1, 0, 2]) {
    const when = delay < 0 ? "in the same write" : `${delay} ms later`;
    it(`C13 LC: a second response ${when} reaches no caller`, async () => {
      const poison = answer("poison");
      const peer = await FaultPeer.start(async (connection) => {
        for (;;) {
          const { head } = await connection.readRequest();
          if (delay < 0) {
            await connection.write(answer(pathOf(head)) + poison);
            continue;
          }
          await connection.write(answer(pathOf(head)));
          await connection.pause(delay);
          await connection.write(poison);
        }
      });
      await using one = bench([peer.address], { limits: { maxConnectionsPerEndpoint: 1 } });
      for (let i = 0; i < 20; i++) {
        try {
          const reply = await one.client.fetch(`/${i}`);
          expect(await reply.text()).toBe(`/${i}`);
        } catch (error) {
          expect(error).toMatchObject({ name: "MeshError" });
        }
        await sleep(delay < 0 ? i % 4 : 12);
      }
      expect(peer.connections).toBeGreaterThan(1);
      await peer.close();
    });
  }

  it("C15 LC: HTTP/2 frames as the answer are malformed", async () => {
    const peer = await FaultPeer.start(async (connection) => {
      await connection.readRequest();
      await connection.write(Buffer.from("000000040000000000", "hex"));
      await connection.hold();
    });
    await using one = bench([peer.address]);
    const error = await within(500, failure(one.client.fetch("/", { method: "POST" })));
    expect(error).toMatchObject({
      code: "bad_response",
      reason: "malformed_response",
      progress: "maybe-processed",
    });
    await peer.close();
  });

  it("C16 LC: out of descriptors is our fault, not the endpoint's, and passes", async () => {
    const server = createServer((request, response) => {
      if (request.url === "/slow") setTimeout(() => response.end("ok"), 150);
      else response.end("ok");
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const out = JSON.parse(await runStarved("starved.ts", 48, [`127.0.0.1:${port}`])) as {
      first: Record<string, number>;
      state: string;
      streak: number;
      after: string[];
    };
    expect(out.first["ok"]).toBeGreaterThan(0);
    expect(out.first["local_exhaustion not-sent"]).toBeGreaterThan(0);
    expect(Object.keys(out.first).sort()).toEqual(["local_exhaustion not-sent", "ok"]);
    expect(out).toMatchObject({
      state: "closed",
      streak: 0,
      after: ["ok", "ok", "ok", "ok", "ok"],
    });
    await stop(server);
  });

  for (const end of ["fin", "rst"] as const) {
    it(`C17 LC: ${end} after the ClientHello is a failed handshake, sent again as R0`, async () => {
      const bad = await FaultPeer.start(async (connection) => {
        await connection.readBytes(50);
        connection[end]();
      });
      await using one = bench([bad.address], { scheme: "https" });
      const error = await within(
        1_000,
        failure(one.client.fetch("/", { method: "POST", body: "x" })),
      );
      expect(error).toMatchObject({
        code: "connect_failed",
        reason: "tls_handshake",
        progress: "not-sent",
      });
      expect(endpointOf(one.mesh, bad.address).breaker.state).not.toBe("closed");
      await bad.close();
    });
  }

  it("C18 LC: IPv6 literals have brackets in Host and in the endpoint's name", async (context) => {
    let peer: FaultPeer;
    try {
      peer = await FaultPeer.start(echo, { host: "::1" });
    } catch {
      return context.skip("no IPv6 loopback here");
    }
    expect(peer.address).toBe(`[::1]:${peer.port}`);
    await using one = bench([peer.address], { authority: peer.address });
    const reply = await one.client.fetch("/six");
    expect(reply.mesh.endpoint).toBe(peer.address);
    expect(await reply.text()).toBe("/six");
    expect(peer.requests[0]!.head).toContain(`\r\nhost: ${peer.address}\r\n`);
    await calm(one.mesh);
    await peer.close();
  });

  it("C18 LC: an address written in several ways is one endpoint, named as RFC 5952 says", async () => {
    const peer = await FaultPeer.start(echo);
    const { port } = peer;
    for (const way of ["[::ffff:127.0.0.1]", "[::FFFF:7f00:1]", "[0:0:0:0:0:ffff:7f00:0001]"]) {
      await using one = bench([`${way}:${port}`]);
      const reply = await one.client.fetch("/one");
      expect([await reply.text(), reply.mesh.endpoint]).toEqual(["/one", `127.0.0.1:${port}`]);
      // Written beside the other form it is a mistake, as any endpoint that stands there twice.
      expect(() => bench([`${way}:${port}`, `127.0.0.1:${port}`])).toThrow(/static\[1\]/);
    }
    await peer.close();
  });

  it("C18 LC: an IPv4-mapped address is dialled", async () => {
    const peer = await FaultPeer.start(echo);
    await using one = bench([`[::ffff:127.0.0.1]:${peer.port}`]);
    expect(await (await one.client.fetch("/mapped")).text()).toBe("/mapped");
    await peer.close();
  });

  it("C19 LC: a call without a connection ends at its deadline or abort, and is never sent", async () => {
    let release = (): void => {};
    const peer = await FaultPeer.start(async (connection) => {
      for (;;) {
        const { head } = await connection.readRequest();
        if (pathOf(head) === "/first") await new Promise<void>((resolve) => (release = resolve));
        await connection.write(answer(pathOf(head)));
      }
    });
    await using one = bench([peer.address], { limits: { maxConnectionsPerEndpoint: 1 } });
    const first = one.client.fetch("/first");
    while (peer.requests.length === 0) await sleep(2);
    const init = { method: "POST", body: "x" };
    const queued = failure(one.client.fetch("/queued", { ...init, timeoutMs: 150 }));
    const abort = new AbortController();
    let reason: unknown;
    const aborted = one.client
      .fetch("/aborted", { ...init, signal: abort.signal })
      .catch((error: unknown) => {
        reason = error;
      });
    const error = await within(200, queued);
    expect(error).toMatchObject({
      code: "deadline_exceeded",
      reason: "queue_wait",
      progress: "not-sent",
    });
    abort.abort(new Error("mine"));
    await Promise.resolve();
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    expect(reason).toMatchObject({ message: "mine" });
    await aborted;
    expect(endpointOf(one.mesh, peer.address)).toMatchObject({
      inFlight: 1,
      breaker: { state: "closed", consecutiveFailures: 0 },
    });
    release();
    expect(await (await first).text()).toBe("/first");
    expect(await (await one.client.fetch("/next")).text()).toBe("/next");
    await sleep(30);
    expect(peer.requests.map(({ head }) => pathOf(head))).toEqual(["/first", "/next"]);
    // Those whose turn came too late have cost no other call the connection.
    expect(peer.connections).toBe(1);
    await peer.close();
  });

  it("C19 LC: an upload that went elsewhere goes on when its turn comes where it waited first", async () => {
    const held: (() => void)[] = [];
    const start = (number: number): Promise<FaultPeer> =>
      FaultPeer.start(async (connection) => {
        for (;;) {
          const { head, body } = await connection.readRequest();
          if (pathOf(head) === "/held")
            await new Promise<void>((resolve) => (held[number] = resolve));
          await connection.write(answer(`${pathOf(head)} ${body.length}`));
        }
      });
    const peers = [await start(0), await start(1)] as const;
    const patience = { timeout: 10_000, interval: 5 };
    await using one = bench(
      peers.map(({ address }) => address),
      { limits: { maxConnectionsPerEndpoint: 1 }, timeouts: { queueMs: 700 } },
    );
    const inFlight = (peer: FaultPeer): number => endpointOf(one.mesh, peer.address).inFlight;
    const holds = [one.client.fetch("/held"), one.client.fetch("/held")];
    await vi.waitFor(
      () => expect(peers.map(({ requests }) => requests.length)).toEqual([1, 1]),
      patience,
    );

    const body = new PassThrough();
    body.write("half");
    const upload = one.client.fetch("/upload", { method: "POST", body });
    const waitsAt = peers.find((peer) => inFlight(peer) === 2)!;
    const elsewhere = peers.find((peer) => peer !== waitsAt)!;
    await vi.waitFor(() => expect(inFlight(elsewhere)).toBe(2), patience);
    // It begins where it went, and only then is it its turn where it was.
    held[peers.indexOf(elsewhere)]!();
    await vi.waitFor(() => expect(body.readableLength).toBe(0), patience);
    held[peers.indexOf(waitsAt)]!();
    for (const hold of holds) expect(await (await hold).text()).toBe("/held 0");
    await sleep(20);
    body.end("half");
    expect(await (await upload).text()).toBe("/upload 8");
    expect(peers.map(({ connections }) => connections)).toEqual([1, 1]);
    for (const peer of peers) await peer.close();
  });

  it("C21 LC: TLS into a full accept queue ends at the connect timeout", async () => {
    await using hole = await startBlackHole();
    await using one = bench([`127.0.0.1:${hole.port}`], {
      scheme: "https",
      timeouts: { connectMs: 150 },
    });
    const error = await within(600, failure(one.client.fetch("/")));
    expect(error).toMatchObject({ code: "connect_failed", reason: "connect_timeout" });
  });

  it("C21 LC: a handshake without an answer ends at the connect timeout", async () => {
    const peer = await FaultPeer.start((connection) => connection.hold());
    await using one = bench([peer.address], { scheme: "https", timeouts: { connectMs: 150 } });
    const error = await within(600, failure(one.client.fetch("/")));
    expect(error).toMatchObject({ code: "connect_failed", reason: "tls_handshake" });
    await peer.close();
  });
});

async function stop(server: Server): Promise<void> {
  server.closeAllConnections();
  server.close();
  await once(server, "close");
}
