/**
 * Two attempts of a call at once, on real sockets, through every way in: what each server sees, what the caller
 * gets, and that nothing is held afterwards. The layer that starts the second is one for tests.
 */
import { once } from "node:events";
import {
  createServer as createHttp1,
  request as nodeRequest,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import { createServer as createHttp2 } from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { Readable } from "node:stream";
import type { Duplex } from "node:stream";
import type { EndedAttempt, EndedCall, ServiceInput } from "@inmesh/core";
import { countResources, expectBaseline, sideBySide } from "@inmesh/core/testing";
import { meshClient } from "@inmesh/http";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { calm } from "./support/bench.ts";
import { httpMeshOf } from "./support/doors.ts";
import { failureOf } from "./wire.ts";

/** How a server treats an attempt. */
type Play = "nothing" | "whole";

interface Seen {
  /** Per request: the attempt's number, its body, and whether its client left before the end. */
  readonly requests: {
    attempt: string;
    body: string;
    left: boolean;
    head: IncomingMessage["headers"];
  }[];
}

let open = 0;

/** Answers attempts by their number; what it has no script for it answers whole. */
async function serverOf(http2: boolean, seen: Seen, plays: Record<string, Play>): Promise<string> {
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    open++;
    const attempt = String(request.headers["x-mesh-attempt"] ?? "1");
    const one = { attempt, body: "", left: false, head: request.headers };
    seen.requests.push(one);
    request.on("error", () => {});
    request.on("data", (chunk: Buffer) => (one.body += String(chunk)));
    response.on("close", () => {
      open--;
      one.left = !response.writableEnded;
    });
    request.on("end", () => {
      const play = plays[attempt] ?? "whole";
      if (play === "nothing") return;
      response.writeHead(200, { "x-attempt": attempt });
      response.end(`whole ${attempt}`);
    });
  };
  const server = http2 ? createHttp2(listener as never) : createHttp1(listener);
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(async () => {
    server.close();
    for (const socket of sockets) socket.destroy();
    if (sockets.size > 0) await once(server, "close");
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function setUp(http2: boolean, plays: Record<string, Play>, input: ServiceInput = {}) {
  const seen: Seen = { requests: [] };
  const addresses = [await serverOf(http2, seen, plays), await serverOf(http2, seen, plays)];
  const layer = sideBySide({
    // Not in the same turn: the servers are to see the first one first.
    second: () => new Promise((resolve) => setTimeout(resolve, 40)),
  });
  const mesh = httpMeshOf(
    { orders: { discovery: { static: addresses }, http2, ...input } },
    { attemptLayers: [layer as never] },
  );
  const attempts: EndedAttempt[] = [];
  const calls: EndedCall[] = [];
  mesh.observe({
    attemptEnded: (attempt) => void attempts.push(attempt),
    callEnded: (call) => void calls.push(call),
  });
  const client = meshClient("orders", { mesh });
  /** No call, no attempt, no request at a server, and one end for each. */
  const expectNothingHeld = async (ends: readonly string[]): Promise<void> => {
    await calm(mesh);
    await expect.poll(() => open).toBe(0);
    expect(attempts.map(({ number, outcome }) => `${number} ${outcome}`).toSorted()).toEqual(ends);
    expect(calls).toHaveLength(1);
    const { endpoints } = mesh.snapshot().services[0]!;
    expect(endpoints.map(({ breaker }) => breaker.state)).toEqual(["closed", "closed"]);
  };
  return { mesh, client, seen, attempts, calls, expectNothingHeld };
}

let baseline = countResources();
beforeAll(async () => {
  // What HTTP/2 and undici open once must not count.
  await import("undici");
  baseline = countResources();
});
afterAll(() => expectBaseline(baseline, 3_000));

describe.each([
  ["HTTP/1", false],
  ["HTTP/2", true],
] as const)("%s", (_, http2) => {
  it("a hedge is the call's when it answers first, and the first attempt ends", async () => {
    const { client, seen, calls, attempts, expectNothingHeld } = await setUp(http2, {
      1: "nothing",
    });
    const reply = await client.fetch("/");
    expect(reply.headers.get("x-attempt")).toBe("2");
    expect(reply.mesh.attempts).toBe(2);
    expect(reply.mesh.why).toContain("hedge, with attempts beside it");
    expect(await reply.text()).toBe("whole 2");
    await expectNothingHeld(["1 abandoned", "2 success"]);
    expect(calls[0]).toMatchObject({ attempts: 2, status: 200, outcome: "success" });
    expect(attempts.find(({ number }) => number === 1)!.error?.reason).toBe("hedge_lost");
    expect(seen.requests.map(({ attempt }) => attempt)).toEqual(["1", "2"]);
    expect(seen.requests[0]!.left).toBe(true);
  });

  it("a string is sent by both, and each head says which attempt it is", async () => {
    const { client, seen, expectNothingHeld } = await setUp(http2, { 1: "nothing" });
    const reply = await client.fetch("/", {
      method: "PUT",
      body: "the body",
      timeoutMs: 5_000,
      headers: { "x-own": "1" },
    });
    expect(await reply.text()).toBe("whole 2");
    await expectNothingHeld(["1 abandoned", "2 success"]);
    expect(seen.requests.map(({ attempt, body, head }) => [attempt, body, head["x-own"]])).toEqual([
      ["1", "the body", "1"],
      ["2", "the body", "1"],
    ]);
    const [first, second] = seen.requests.map(({ head }) => Number(head["x-mesh-timeout-ms"]));
    expect(first).toBeGreaterThan(second!);
  });

  it("a stream is sent by one: the reply says why there was no second attempt", async () => {
    const { client, seen, calls, expectNothingHeld } = await setUp(http2, {});
    // It ends after the second attempt was asked for.
    const body = Readable.from(
      (async function* () {
        yield Buffer.from("one ");
        await new Promise((resolve) => setTimeout(resolve, 120));
        yield Buffer.from("two");
      })(),
    );
    const reply = await client.fetch("/", { method: "PUT", body });
    expect(await reply.text()).toBe("whole 1");
    expect(reply.mesh.noRetry).toBe("not_replayable");
    await expectNothingHeld(["1 success"]);
    expect(calls[0]!.notRetried).toBe("not_replayable");
    expect(seen.requests.map(({ body: text }) => text)).toEqual(["one two"]);
  });

  it("a POST is sent once, unless its caller vouches for it", async () => {
    const { client, seen } = await setUp(http2, { 1: "nothing" });
    const post = (vouched: object) => client.fetch("/", { method: "POST", body: "x", ...vouched });
    expect(await (await post({ idempotent: true })).text()).toBe("whole 2");
    expect(seen.requests).toHaveLength(2);
    const alone = post({ signal: AbortSignal.timeout(200) });
    await expect(alone).rejects.toThrow();
    expect(seen.requests).toHaveLength(3);
  });

  it("the caller aborts while both run: both servers see it, and the caller its own reason", async () => {
    const { client, seen, expectNothingHeld } = await setUp(http2, { 1: "nothing", 2: "nothing" });
    const abort = new AbortController();
    const sent = client.fetch("/", { signal: abort.signal });
    const failed = expect(sent).rejects.toThrow("enough");
    await expect.poll(() => seen.requests.length).toBe(2);
    abort.abort(new Error("enough"));
    await failed;
    await expectNothingHeld(["1 abandoned", "2 abandoned"]);
    expect(seen.requests.map(({ left }) => left)).toEqual([true, true]);
  });

  it("the deadline passes while both run", async () => {
    const { client, seen, expectNothingHeld } = await setUp(http2, { 1: "nothing", 2: "nothing" });
    const error = await failureOf(client.fetch("/", { timeoutMs: 400 }));
    expect([error.code, error.reason, error.attempts]).toEqual([
      "deadline_exceeded",
      "call_deadline",
      2,
    ]);
    await expectNothingHeld(["1 timeout", "2 timeout"]);
    expect(seen.requests.map(({ left }) => left)).toEqual([true, true]);
  });

  it("fetch and the dispatcher give the caller one reply", async () => {
    const { mesh, seen, expectNothingHeld } = await setUp(http2, { 1: "nothing" });
    const reply = await mesh.fetch("http://orders/");
    expect(await reply.text()).toBe("whole 2");
    await expectNothingHeld(["1 abandoned", "2 success"]);
    expect(seen.requests).toHaveLength(2);
  });

  it("ten calls at once, both attempts of all answer: everything is given back", async () => {
    const { client, mesh, attempts } = await setUp(http2, { 1: "nothing" });
    const texts = await Promise.all(
      Array.from({ length: 10 }, async () => (await client.fetch("/")).text()),
    );
    expect(new Set(texts)).toEqual(new Set(["whole 2"]));
    await calm(mesh);
    await expect.poll(() => open).toBe(0);
    expect(attempts).toHaveLength(20);
  });
});

describe("HTTP/1", () => {
  it("the head of an attempt that waits for a connection is its own", async () => {
    const held: (() => void)[] = [];
    const seen: (string | undefined)[] = [];
    const server = createHttp1((request, response) => {
      if (request.url === "/block") held.push(() => response.end());
      else {
        seen.push(request.headers["x-mesh-attempt"] as string | undefined);
        response.end("x");
      }
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const mesh = httpMeshOf(
      {
        orders: {
          discovery: { static: [address] },
          limits: { maxConnectionsPerEndpoint: 1 },
        },
      },
      { attemptLayers: [sideBySide() as never] },
    );
    const client = meshClient("orders", { mesh });
    const blocking = client.fetch("/block", { method: "POST" });
    await expect.poll(() => held.length).toBe(1);
    const sent = client.fetch("/", { timeoutMs: 5_000 });
    await new Promise((resolve) => setTimeout(resolve, 20));
    held[0]!();
    await (await blocking).text();
    // The first has the connection, and its head says nothing of the second.
    expect((await sent).mesh.attempts).toBe(2);
    await calm(mesh);
    expect(seen[0]).toBe(undefined);
  });

  it("an upgrade is given to the caller once, and the other connection ends", async () => {
    let upgraded = 0;
    const sockets = new Set<Duplex>();
    const addresses: string[] = [];
    for (let i = 0; i < 2; i++) {
      const server = createHttp1();
      server.on("upgrade", (_request, socket: Duplex) => {
        upgraded++;
        sockets.add(socket);
        socket.on("error", () => {});
        socket.on("close", () => sockets.delete(socket));
        socket.on("end", () => socket.end());
        socket.resume();
        socket.write("HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
      });
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      onTestFinished(() => {
        for (const socket of sockets) socket.destroy();
        server.close();
      });
      addresses.push(`127.0.0.1:${(server.address() as AddressInfo).port}`);
    }
    const mesh = httpMeshOf(
      { orders: { discovery: { static: addresses } } },
      { attemptLayers: [sideBySide() as never] },
    );
    const { socket } = await mesh.dispatcher.upgrade({
      origin: "http://orders",
      path: "/",
      protocol: "echo",
    });
    await expect.poll(() => upgraded <= 2 && sockets.size).toBe(1);
    socket.destroy();
    await calm(mesh);
    await expect.poll(() => sockets.size).toBe(0);
  });

  it("a request of the agent, which asks for a connection, has one attempt", async () => {
    const seen: Seen = { requests: [] };
    const addresses = [await serverOf(false, seen, {}), await serverOf(false, seen, {})];
    const refusals: string[] = [];
    const mesh = httpMeshOf(
      { orders: { discovery: { static: addresses } } },
      { attemptLayers: [sideBySide({ refused: (why) => void refusals.push(why) }) as never] },
    );
    const [reply] = (await once(
      nodeRequest("http://orders/", { agent: mesh.agent() }).end(),
      "response",
    )) as [IncomingMessage];
    reply.resume();
    await once(reply, "end");
    await calm(mesh);
    expect(refusals).toEqual(["not_replayable"]);
    expect(seen.requests).toHaveLength(1);
  });
});
