/** What observers see of HTTP on real sockets, and what one attempt alone sends. */
import { once } from "node:events";
import { request } from "node:http";
import type {
  EndedAttempt,
  EndedCall,
  EndedRequest,
  Mesh,
  Observer,
  ServiceInput,
} from "@inmesh/core";
import { meshClient, meshServer } from "@inmesh/http";
import { describe, expect, it, onTestFinished } from "vitest";
import { httpMeshOf } from "./support/doors.ts";
import { meshOf, serve } from "./wire.ts";

const clientOver = (mesh: Mesh, addresses: readonly string[], input: ServiceInput = {}) =>
  meshClient("orders", { mesh, discovery: { static: addresses }, ...input });

/** Names of the traces that its attempts carry: a child for each. */
const tracer: Observer = {
  attemptStarted: (attempt) => attempt.setHeader("traceparent", `child-${attempt.number}`),
};

describe.each([
  ["HTTP/1", false],
  ["HTTP/2", true],
])("%s", (_, http2) => {
  it("each attempt has its own traceparent, and what the call sends stays the same", async () => {
    const seen: unknown[] = [];
    let asked = 0;
    const server = meshServer(
      (incoming, response) => {
        const { traceparent, accept } = incoming.headers;
        seen.push([traceparent, accept, incoming.headers["x-own"]]);
        response.statusCode = asked++ === 0 ? 503 : 200;
        response.end("x");
      },
      { http2 },
    );
    onTestFinished(() => server.close(0));
    const { port } = await server.listen(0, "127.0.0.1");
    const mesh = meshOf({});
    mesh.observe(tracer);
    const client = clientOver(mesh, [`127.0.0.1:${port}`], { http2 });
    const reply = await client.fetch("/", {
      headers: { traceparent: "of the caller", accept: "a", "x-own": "1" },
    });
    expect(reply.status).toBe(200);
    await reply.text();
    expect(seen).toEqual([
      ["child-1", "a", "1"],
      ["child-2", "a", "1"],
    ]);
  });

  it("a call with a body is reported with bytes, times and status", async () => {
    const server = meshServer(
      (incoming, response) => {
        incoming.resume().on("end", () => response.end("hello"));
      },
      { http2 },
    );
    onTestFinished(() => server.close(0));
    const { port } = await server.listen(0, "127.0.0.1");
    const mesh = meshOf({});
    const attempts: EndedAttempt[] = [];
    const calls: EndedCall[] = [];
    mesh.observe({
      attemptEnded: (attempt) => void attempts.push(attempt),
      callEnded: (call) => void calls.push(call),
    });
    const client = clientOver(mesh, [`127.0.0.1:${port}`], { http2 });
    const reply = await client.fetch("/a/b?c=d", {
      method: "POST",
      body: "1234567",
      headers: { k: "v" },
    });
    expect(await reply.text()).toBe("hello");
    const [attempt] = attempts;
    expect(attempt).toMatchObject({
      endpoint: `127.0.0.1:${port}`,
      outcome: "success",
      status: 200,
      progress: "replied",
      sentBytes: 7,
      receivedBytes: 5,
      error: undefined,
      pickedBy: "only",
    });
    expect(attempt!.queuedMs).toBeGreaterThanOrEqual(0);
    expect(attempt!.durationMs).toBeGreaterThanOrEqual(attempt!.headMs!);
    const [call] = calls;
    expect(call).toMatchObject({
      protocol: "http",
      method: "POST",
      path: "/a/b",
      route: "default",
      status: 200,
      sentBytes: 7,
      receivedBytes: 5,
    });
    expect(call!.header("k")).toBe("v");
    expect(call!.lastAttempt).toBe(attempt);
  });
});

it("an endpoint that cannot be reached is an attempt that was not sent", async () => {
  const gone = await serve(() => {});
  gone.server.close();
  await once(gone.server, "close");
  const mesh = meshOf({});
  const attempts: EndedAttempt[] = [];
  mesh.observe({ attemptEnded: (attempt) => void attempts.push(attempt) });
  await expect(clientOver(mesh, [gone.address]).fetch("/")).rejects.toThrow("orders");
  expect(attempts[0]).toMatchObject({
    outcome: "failure",
    status: undefined,
    progress: "not-sent",
    queuedMs: undefined,
    headMs: undefined,
    sentBytes: 0,
  });
  expect(attempts[0]?.error?.reason).toBe("connect_refused");
});

describe("mesh.agent()", () => {
  const setUp = async () => {
    const seen: unknown[] = [];
    const served = await serve((incoming, response) => {
      seen.push([incoming.headers["traceparent"], incoming.headers["x-gone"]]);
      response.end();
    });
    const gone = await serve(() => {});
    gone.server.close();
    await once(gone.server, "close");
    const orders = { discovery: { static: [gone.address, served.address] } };
    const mesh = httpMeshOf({ orders });
    const numbers: number[] = [];
    mesh.observe({
      attemptStarted(attempt) {
        numbers.push(attempt.number);
        attempt.setHeader("traceparent", `child-${attempt.number}`);
        if (attempt.endpoint === gone.address) attempt.setHeader("x-gone", "1");
      },
    });
    const headers = { traceparent: "of the caller" };
    const ask = () => request("http://orders/", { agent: mesh.agent(), headers });
    return { seen, numbers, ask };
  };

  it("sends the fields of the attempt that got a connection, and no other's", async () => {
    const { seen, numbers, ask } = await setUp();
    for (let i = 0; i < 6; i++) {
      const asked = ask();
      await once(asked, "socket");
      asked.end();
      const [reply] = (await once(asked, "response")) as [NodeJS.ReadableStream];
      reply.resume();
      expect(seen.at(-1)).toEqual([`child-${numbers.at(-1)}`, undefined]);
    }
    expect(numbers).toContain(2);
  });

  it("sends those of the first, where node:http has written the head before there was a connection", async () => {
    const { seen, numbers, ask } = await setUp();
    for (let i = 0; i < 6; i++) {
      const [reply] = (await once(ask().end(), "response")) as [NodeJS.ReadableStream];
      reply.resume();
      expect(seen.at(-1)).toEqual(["child-1", numbers.at(-1) === 2 ? "1" : undefined]);
    }
    expect(numbers).toContain(2);
  });
});

describe("requests being served", () => {
  const observed = async (
    mesh: Mesh,
    listener: Parameters<typeof meshServer>[0],
    options: object = {},
  ) => {
    const ended: EndedRequest[] = [];
    const started: string[] = [];
    mesh.observe({
      servedStarted: (one) => void started.push(`${one.id} ${one.method} ${one.path}`),
      servedEnded: (one) => void ended.push(one),
    });
    const server = meshServer(listener, { mesh, name: "shop", ...options });
    onTestFinished(() => server.close(0));
    const { port } = await server.listen(0, "127.0.0.1");
    return { ended, started, address: `127.0.0.1:${port}` };
  };

  it.each([
    ["HTTP/1", false],
    ["HTTP/2", true],
  ])("over %s: answered, failed, and given up by the caller", async (_, http2) => {
    const mesh = meshOf({});
    let arrived = (): void => {};
    const { ended, started, address } = await observed(
      mesh,
      (incoming, response) => {
        if (incoming.url === "/never") return arrived();
        response.statusCode = incoming.url === "/500" ? 500 : 200;
        response.end();
      },
      { http2 },
    );
    const client = clientOver(mesh, [address], { http2, retry: { attempts: 1 } });
    for (const path of ["/ok?x=1", "/500"]) await (await client.fetch(path)).text();
    const abort = new AbortController();
    const arriving = new Promise<void>((resolve) => (arrived = resolve));
    const sent = client.fetch("/never", { signal: abort.signal });
    await arriving;
    abort.abort(new Error("enough"));
    await expect(sent).rejects.toThrow("enough");
    await expect.poll(() => ended.length).toBe(3);
    const shown = ended.map((one) => [one.path, one.outcome, one.status, one.reason]);
    expect(shown).toContainEqual(["/ok", "success", 200, undefined]);
    expect(shown).toContainEqual(["/500", "failure", 500, undefined]);
    expect(shown).toContainEqual(["/never", "abandoned", undefined, undefined]);
    expect(started[0]).toBe("1 GET /ok");
    expect(ended[0]).toMatchObject({ protocol: "http", server: "shop", attempt: 1 });
  });

  it("what is refused before its handler has the reason, and is reported once", async () => {
    const mesh = meshOf({});
    const { ended, started, address } = await observed(mesh, (_, response) => response.end(), {
      limits: { maxInFlight: 0 },
    });
    const reply = await clientOver(mesh, [address], { retry: { attempts: 1 } }).fetch("/x");
    await reply.text();
    await expect.poll(() => ended.length).toBe(started.length);
    expect(ended[0]).toMatchObject({ outcome: "overloaded", status: 503, reason: "concurrency" });
  });

  it("a call made for a request knows it, so a trace can go on below", async () => {
    const mesh = meshOf({});
    const inner = await serve((_, response) => response.end());
    const client = clientOver(mesh, [inner.address]);
    const links: unknown[] = [];
    mesh.observe({
      callStarted: ({ path, servedFor }) => void links.push([path, servedFor?.path]),
    });
    const { address } = await observed(mesh, (_, response) => {
      void client.fetch("/below").then(async (reply) => {
        await reply.text();
        response.end();
      });
    });
    await fetch(`http://${address}/above`);
    expect(links).toEqual([["/below", "/above"]]);
  });
});
