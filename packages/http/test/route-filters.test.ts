/** Header filters of routes on the wire, to the byte, over HTTP/1.1 and HTTP/2 and through every door. */
import { once } from "node:events";
import { request, type IncomingMessage } from "node:http";
import { createServer, type IncomingHttpHeaders } from "node:http2";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import type { RouteInput } from "@inmesh/core";
import type { Reply } from "@inmesh/core/spi";
import type { FaultPeer } from "@inmesh/core/testing";
import { meshServer } from "@inmesh/http";
import axios from "axios";
import { describe, expect, it, onTestFinished } from "vitest";
import type { RawHeaders } from "../src/headers.ts";
import { doorsOf, Recorded } from "./support/doors.ts";
import { clientOf, failureOf, peerOf, serve, until } from "./wire.ts";

const ROUTE: RouteInput = {
  name: "marked",
  matches: [{ headers: [{ name: "x-tier", value: "gold" }] }],
  filters: [
    {
      type: "RequestHeaderModifier",
      requestHeaderModifier: {
        set: [{ name: "X-Tier", value: "7" }],
        add: [{ name: "X-Via", value: "route" }],
        remove: ["X-Debug"],
      },
    },
    {
      type: "ResponseHeaderModifier",
      responseHeaderModifier: {
        set: [{ name: "Server", value: "mesh" }],
        add: [{ name: "Set-Cookie", value: "b=2" }],
        remove: ["X-Powered-By", "Retry-After"],
      },
    },
  ],
};
const SENT = [
  ["X-Via", "caller"],
  ["X-TIER", "gold"],
  ["x-debug", "1"],
  ["X-Debug", "2"],
] as const;
const HEAD =
  "Server: nginx\r\nX-Powered-By: php\r\nSet-Cookie: a=1\r\nX-Kept: Yes\r\ncontent-length: 2";
const OK = `HTTP/1.1 200 OK\r\n${HEAD}\r\n\r\nok`;
const CHANGED = { "set-cookie": ["a=1", "b=2"], "x-kept": "Yes", server: "mesh" };

/** Answers each request with the next of these, at last with the last. */
function answering(...replies: string[]): Promise<FaultPeer> {
  let answered = 0;
  return peerOf(async (connection) => {
    for (;;) {
      await connection.readRequest();
      await connection.write(replies[Math.min(answered++, replies.length - 1)]!);
    }
  });
}

/** Lines of a head that are not about the connection. */
const lines = (head: string): string[] =>
  head
    .split("\r\n")
    .slice(1, -2)
    .filter((line) => !/^(?:host|connection|x-mesh-timeout-ms|accept|user-agent)/i.test(line));

describe("meshClient over HTTP/1.1", () => {
  it("sends what the route makes of the head, and gives the reply changed", async () => {
    const peer = await answering(OK);
    const orders = clientOf([peer.address], { routes: [ROUTE] });
    const reply = await orders.fetch("/", { headers: SENT });
    expect(lines(peer.requests[0]!.head)).toEqual(["X-Via: caller", "x-tier: 7", "x-via: route"]);
    expect(Object.fromEntries(reply.headers)).toEqual({
      "content-length": "2",
      "x-kept": "Yes",
      server: "mesh",
      "set-cookie": "b=2",
    });
    expect(reply.headers.getAll("set-cookie")).toEqual(["a=1", "b=2"]);
    expect(reply.headers.has("x-powered-by")).toBe(false);
    expect(reply.toResponse().headers.getSetCookie()).toEqual(["a=1", "b=2"]);
    expect(reply.mesh.route).toBe("marked");
  });

  it("every attempt sends the same; what is removed from the reply was read before", async () => {
    const busy = `HTTP/1.1 503 Busy\r\nRetry-After: 0\r\ncontent-length: 0\r\n\r\n`;
    const peer = await answering(busy, busy, OK);
    const orders = clientOf([peer.address], { routes: [{ ...ROUTE, retry: { attempts: 3 } }] });
    const reply = await orders.fetch("/", { headers: SENT });
    expect([reply.status, reply.mesh.attempts]).toEqual([200, 3]);
    const changed = ["X-Via: caller", "x-tier: 7", "x-via: route"];
    expect(peer.requests.map(({ head }) => lines(head))).toEqual([
      changed,
      [...changed, "x-mesh-attempt: 2"],
      [...changed, "x-mesh-attempt: 3"],
    ]);
  });

  it("a reply that is given back for want of a better is changed, and its hint was obeyed", async () => {
    const peer = await answering(
      "HTTP/1.1 503 Busy\r\nRetry-After: 9\r\ncontent-length: 0\r\n\r\n",
    );
    const orders = clientOf([peer.address], { routes: [{ ...ROUTE, retry: { attempts: 1 } }] });
    const reply = await orders.fetch("/", { headers: SENT });
    const { outcome } = reply as unknown as Reply; // for layers, not for applications
    expect([reply.status, outcome, reply.headers.has("retry-after")]).toEqual([
      503,
      "overloaded",
      false,
    ]);
  });

  it("what the mesh passes on of a request being served stays as it is", async () => {
    const peer = await answering(OK);
    const orders = clientOf([peer.address], { routes: [ROUTE] });
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const inner = meshServer(
      async (_incoming, outgoing) => {
        await (await orders.fetch("/", { headers: SENT })).text();
        outgoing.end();
      },
      { posture: "mesh" },
    );
    const { port } = await inner.listen(0, "127.0.0.1");
    onTestFinished(() => inner.close());
    await fetch(`http://127.0.0.1:${port}/`, { headers: { traceparent } });
    expect(lines(peer.requests[0]!.head)).toEqual([
      "X-Via: caller",
      "x-tier: 7",
      "x-via: route",
      "x-mesh-hops: 1",
      `traceparent: ${traceparent}`,
    ]);
  });

  it("what a route adds counts for the limit of a head", async () => {
    const peer = await answering(OK);
    const big = [{ name: "x-big", value: "x".repeat(2_000) }];
    const orders = clientOf([peer.address], {
      limits: { maxRequestHeaderBytes: 1_024 },
      routes: [{ filters: [{ requestHeaderModifier: { set: big } }] }],
    });
    expect(await failureOf(orders.fetch("/"))).toMatchObject({
      reason: "header_too_large",
      progress: "not-sent",
    });
    expect(peer.requests).toEqual([]);
  });
});

it("HTTP/2: the same fields, in lower case", async () => {
  const seen: IncomingHttpHeaders[] = [];
  const server = createServer();
  server.on("stream", (stream, headers) => {
    seen.push(headers);
    stream.respond({
      ":status": 200,
      server: "nginx",
      "x-powered-by": "php",
      "set-cookie": ["a=1"],
      "x-kept": "Yes",
    });
    stream.end("ok");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const input = { http2: true, routes: [ROUTE] };
  const reply = await clientOf([address], input).fetch("/", { headers: SENT });
  expect(seen[0]).toMatchObject({ "x-tier": "7", "x-via": "caller, route" });
  expect(seen[0]).not.toHaveProperty("x-debug");
  expect(reply.headers.getAll("set-cookie")).toEqual(["a=1", "b=2"]);
  expect(reply.headers.get("server")).toBe("mesh");
  expect(reply.headers.has("x-powered-by")).toBe(false);

  const recorded = new Recorded(doorsOf([address], input).dispatcher, {
    headers: { "x-tier": "gold" },
  });
  expect(await recorded.over).toBeUndefined();
  expect(recorded.headers).toMatchObject(CHANGED);
  expect(String(recorded.controller!.rawHeaders)).toContain("set-cookie,a=1,");
  expect(String(recorded.controller!.rawHeaders)).toContain("server,mesh,set-cookie,b=2");
});

describe("doors", () => {
  it("a dispatcher's handler gets the changed head in both forms", async () => {
    const peer = await answering(OK);
    const mesh = doorsOf([peer.address], { routes: [ROUTE] });
    const recorded = new Recorded(mesh.dispatcher, { headers: SENT.flat() });
    expect(await recorded.over).toBeUndefined();
    expect(lines(peer.requests[0]!.head)).toEqual(["X-Via: caller", "x-tier: 7", "x-via: route"]);
    expect(recorded.headers).toEqual({ ...CHANGED, "content-length": "2" });
    const raw = (recorded.controller!.rawHeaders as Buffer[]).map(String);
    expect(raw.join()).toBe(
      "Set-Cookie,a=1,X-Kept,Yes,content-length,2,server,mesh,set-cookie,b=2",
    );
  });

  it("a dispatched head that is too large is refused before it is sent", async () => {
    const peer = await answering(OK);
    const mesh = doorsOf([peer.address], { limits: { maxRequestHeaderBytes: 1_024 } });
    const recorded = new Recorded(mesh.dispatcher, { headers: { "x-big": "x".repeat(2_000) } });
    expect(await recorded.over).toMatchObject({ reason: "header_too_large" });
    expect(peer.requests).toEqual([]);
  });

  it.each(["mesh.fetch", "the built-in fetch"])("%s", async (which) => {
    const peer = await answering(OK);
    const mesh = doorsOf([peer.address], { routes: [ROUTE] });
    const headers = { "x-tier": "gold" };
    if (which !== "mesh.fetch") onTestFinished(mesh.installGlobal());
    const reply =
      which === "mesh.fetch"
        ? await mesh.fetch("http://orders/", { headers })
        : await fetch("http://orders/", { headers });
    expect(lines(peer.requests[0]!.head).filter((line) => line.startsWith("x-"))).toEqual([
      "x-tier: 7",
      "x-via: route",
    ]);
    expect(reply.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
    expect([reply.headers.get("server"), reply.headers.get("x-powered-by")]).toEqual([
      "mesh",
      null,
    ]);
    expect(await reply.text()).toBe("ok");
  });

  it("an agent's request and reply, in all forms that node has of them", async () => {
    const peer = await answering(OK);
    const mesh = doorsOf([peer.address], { routes: [ROUTE] });
    const asked = request("http://orders/", {
      agent: mesh.agent(),
      headers: { "X-Via": "caller", "X-TIER": "gold", "X-Debug": "1" },
    });
    asked.end();
    const [reply] = (await once(asked, "response")) as [IncomingMessage];
    expect(lines(peer.requests[0]!.head)).toEqual(["X-Via: caller", "X-Via: route", "x-tier: 7"]);
    const { headers, headersDistinct, rawHeaders } = reply;
    expect(headers).toMatchObject(CHANGED);
    expect(headers).not.toHaveProperty("x-powered-by");
    expect({ ...headersDistinct }).toEqual({
      "content-length": ["2"],
      "set-cookie": ["a=1", "b=2"],
      "x-kept": ["Yes"],
      server: ["mesh"],
    });
    expect(rawHeaders.join()).toBe(
      "Set-Cookie,a=1,X-Kept,Yes,content-length,2,server,mesh,set-cookie,b=2",
    );
    expect(await text(reply)).toBe("ok");
  });

  it("axios over an agent", async () => {
    const peer = await answering(OK);
    const mesh = doorsOf([peer.address], { routes: [ROUTE] });
    const { headers } = await axios.get("http://orders/", {
      httpAgent: mesh.agent(),
      headers: { "x-tier": "gold" },
    });
    expect(peer.requests[0]!.head).toMatch(/\r\nx-tier: 7\r\n/);
    expect(headers).toMatchObject({ server: "mesh", "x-kept": "Yes" });
    expect(headers["x-powered-by"]).toBeUndefined();
  });

  it("an agent's request whose head is written already goes as it is; its reply is changed", async () => {
    const peer = await answering(OK);
    const mesh = doorsOf([peer.address], { routes: [{ ...ROUTE, matches: [] }] });
    const asked = request("http://orders/", {
      agent: mesh.agent(),
      headers: ["Host", "orders", "X-Debug", "1"] as never,
    });
    asked.end();
    const [reply] = (await once(asked, "response")) as [IncomingMessage];
    expect(lines(peer.requests[0]!.head)).toEqual(["X-Debug: 1"]);
    expect(reply.headers["server"]).toBe("mesh");
    expect(await text(reply)).toBe("ok");
  });
});

it("interim replies and upgrades keep their heads", async () => {
  const peer = await peerOf(async (connection) => {
    await connection.readRequest();
    await connection.write(`HTTP/1.1 103 Hints\r\nX-Powered-By: php\r\n\r\n`);
    await connection.write(
      "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\nX-Powered-By: php\r\n\r\n",
    );
    await connection.hold();
  });
  const mesh = doorsOf([peer.address], { routes: [{ ...ROUTE, matches: [] }] });
  const heads: RawHeaders[] = [];
  await new Promise<void>((resolve) => {
    mesh.dispatcher.dispatch(
      { origin: "http://orders", path: "/", method: "GET", upgrade: "x" },
      {
        onRequestStart: () => {},
        onResponseStart: (_controller, _status, headers) => void heads.push(headers),
        onResponseData: () => {},
        onResponseEnd: () => {},
        onResponseError: () => resolve(),
        onRequestUpgrade: (_controller, _status, headers, socket) => {
          heads.push(headers);
          socket.destroy();
          resolve();
        },
      },
    );
  });
  // The call itself comes to its end after the handler was called.
  await until(() => mesh.snapshot().services[0]!.callsInFlight === 0);
  await new Promise(setImmediate);
  expect(heads).toMatchObject([{ "x-powered-by": "php" }, { "x-powered-by": "php" }]);
  expect(heads[1]).not.toHaveProperty("server");
});

it("calls in flight keep the filters they began with, over a change of configuration", async () => {
  const held: (() => void)[] = [];
  const seen: unknown[] = [];
  const { address } = await serve((incoming, outgoing) => {
    seen.push(incoming.headers["x-version"]);
    outgoing.setHeader("server", "nginx");
    if (incoming.headers["x-version"] === "old" && held.length < 5) {
      held.push(() => outgoing.writeHead(503).end());
    } else outgoing.end("ok");
  });
  const config = (version: string) => ({
    services: {
      orders: {
        discovery: { static: [address] },
        retryBudget: { minPerSecond: 100 },
        routes: [
          {
            retry: { attempts: 2, backoff: "1ms" },
            filters: [
              { requestHeaderModifier: { set: [{ name: "x-version", value: version }] } },
              { responseHeaderModifier: { set: [{ name: "server", value: version }] } },
            ],
          },
        ],
      },
    },
  });
  const mesh = doorsOf([], {}, { config: config("old") });
  const call = async (): Promise<string | null> => {
    const reply = await mesh.fetch("http://orders/");
    await reply.text();
    return reply.headers.get("server");
  };
  const before = Array.from({ length: 5 }, call);
  await until(() => held.length === 5);
  mesh.update(config("new"));
  expect(await Promise.all(Array.from({ length: 5 }, call))).toEqual(Array(5).fill("new"));
  for (const fail of held) fail();
  expect(await Promise.all(before)).toEqual(Array(5).fill("old"));
  expect(seen.filter((one) => one === "old")).toHaveLength(10);
});

it("a change of filters alone keeps connections and counters", async () => {
  const served = await serve((incoming, outgoing) => {
    outgoing.end(String(incoming.headers["x-version"]));
  });
  const config = (version: string) => ({
    services: {
      orders: {
        discovery: { static: [served.address] },
        routes: [
          {
            filters: [{ requestHeaderModifier: { set: [{ name: "x-version", value: version }] } }],
          },
        ],
      },
    },
  });
  const mesh = doorsOf([], {}, { config: config("1") });
  const call = async (): Promise<string> => (await mesh.fetch("http://orders/")).text();
  expect(await call()).toBe("1");
  await until(() => mesh.snapshot().services[0]!.callsInFlight === 0);
  await new Promise(setImmediate);
  mesh.update(config("2"));
  expect(await call()).toBe("2");
  expect(served.connections).toBe(1);
  expect(mesh.snapshot().services[0]!.endpoints[0]!.picks).toBe(2);
});
