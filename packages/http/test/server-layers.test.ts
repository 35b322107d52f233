/**
 * Layers of the application in a server: what they see, how they answer, that they hold a handler back,
 * what they hear at the end, and that HTTP counts what it serves. Over HTTP/1 and HTTP/2, on servers that
 * are made and servers that are given, and for requests without a connection.
 */
import { once } from "node:events";
import * as http from "node:http";
import * as http2 from "node:http2";
import inject, { type DispatchFunc } from "light-my-request";
import { context, createMesh } from "@inmesh/core";
import {
  meshServer,
  refusal,
  type MeshServer,
  type ServerEnd,
  type ServerLayer,
  type ServerOptions,
  type ServerRequest,
} from "@inmesh/http";
import { describe, expect, it, onTestFinished } from "vitest";
import { counted, until } from "./wire.ts";

interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}
interface Ask {
  readonly path?: string;
  readonly headers?: Record<string, string>;
  /** Sent with `content-length`. */
  readonly body?: string;
  /** The client leaves after so many milliseconds. */
  readonly leaveMs?: number;
}

const MADE_OR_GIVEN = ["http1", "http2", "http1 given", "http2 given"] as const;
type Kind = (typeof MADE_OR_GIVEN)[number] | "injected";
const KINDS: readonly Kind[] = [...MADE_OR_GIVEN, "injected"];

interface Player {
  readonly server: MeshServer;
  ask(ask?: Ask): Promise<Reply>;
}

async function play(
  kind: Kind,
  handler: http.RequestListener,
  options: ServerOptions,
): Promise<Player> {
  const target =
    kind === "http1 given"
      ? http.createServer(handler)
      : kind === "http2 given"
        ? http2.createServer(handler as never)
        : handler;
  const all = { discoveryWaitMs: 0, idleWaitMs: 20, http2: kind === "http2", ...options };
  const server = meshServer(target as http.RequestListener, all as never) as MeshServer;
  onTestFinished(() => server.close(0));
  if (kind === "injected") {
    const emit: DispatchFunc = (request, response) =>
      void server.server.emit("request", request, response);
    return {
      server,
      async ask({ path = "/", headers = {}, body } = {}) {
        const method = body === undefined ? "GET" : "POST";
        const payload = body === undefined ? {} : { payload: body };
        const reply = await inject(emit, { url: path, method, headers, ...payload });
        const { statusCode: status, headers: fields } = reply;
        return { status, headers: fields as Reply["headers"], body: reply.body };
      },
    };
  }
  const { port } = await server.listen(0, "127.0.0.1");
  return { server, ask: kind.startsWith("http1") ? ask1(port) : ask2(port) };
}

function ask1(port: number): Player["ask"] {
  const agent = new http.Agent({ keepAlive: true });
  onTestFinished(() => agent.destroy());
  return ({ path = "/", headers = {}, body, leaveMs } = {}) =>
    new Promise((resolve, reject) => {
      const method = body === undefined ? "GET" : "POST";
      const request = http.request({ port, path, method, headers, agent });
      request.on("error", reject);
      request.on("response", (response) => {
        let text = "";
        response.on("data", (chunk) => (text += String(chunk)));
        response.on("end", () =>
          resolve({ status: response.statusCode!, headers: response.headers, body: text }),
        );
      });
      if (leaveMs !== undefined) setTimeout(() => request.destroy(), leaveMs);
      request.end(body);
    });
}

function ask2(port: number): Player["ask"] {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  onTestFinished(() => session.destroy());
  return async ({ path = "/", headers = {}, body, leaveMs } = {}) => {
    const method = body === undefined ? "GET" : "POST";
    const stream = session.request({ ":path": path, ":method": method, ...headers });
    if (leaveMs !== undefined) setTimeout(() => stream.close(8), leaveMs);
    stream.end(body);
    const closed = once(stream, "close").then(() => Promise.reject(new Error("closed")));
    const answered = once(stream, "response") as Promise<[http2.IncomingHttpHeaders]>;
    closed.catch(() => {});
    const [head] = await Promise.race([answered, closed]);
    let text = "";
    for await (const chunk of stream) text += String(chunk);
    return { status: Number(head[":status"]), headers: head, body: text };
  };
}

const OK: http.RequestListener = (_request, response) => void response.end("ok");
const TOO_FAST = refusal({
  code: "resource_exhausted",
  reason: "too_fast",
  retryAfterMs: 1_500,
  headers: { "RateLimit-Limit": "10" },
});

describe.each(KINDS)("%s", (kind) => {
  it("a layer sees the request, and its handler serves it", async () => {
    let seen: Partial<ServerRequest> = {};
    const before = performance.now();
    const layer: ServerLayer = (inner) => (request) => {
      const { service, protocol, route, method, path, query, deadlineAt, attempt, peer } = request;
      seen = { service, protocol, route, method, path, query, deadlineAt, attempt, peer };
      expect(request.header("X-Shop")).toBe("one");
      expect(request.header("x-mesh-client-id")).toBeUndefined(); // removed before the layers
      expect(request.header("nothing")).toBeUndefined();
      return inner(request);
    };
    const { ask } = await play(kind, OK, { name: "orders", serverLayers: [layer] });
    const headers = { "x-shop": "one", "x-mesh-client-id": "root", "x-mesh-timeout-ms": "5000" };
    const { status, body } = await ask({ path: "/v1/orders?id=7", headers });
    expect([status, body]).toEqual([200, "ok"]);
    expect(seen).toMatchObject({
      service: "orders",
      protocol: "http",
      route: "default",
      method: "GET",
      path: "/v1/orders",
      query: "id=7",
      attempt: 1,
    });
    expect(seen.deadlineAt).toBeGreaterThan(before + 4_000);
    if (kind !== "injected") expect(seen.peer!.address).toMatch(/127\.0\.0\.1$/);
    expect(seen.peer!.certificate).toBeUndefined();
  });

  it("a layer refuses at once: status, reason, fields and pause follow from the refusal", async () => {
    let handled = 0;
    const { server, ask } = await play(kind, () => void handled++, {
      posture: "mesh",
      serverLayers: [() => () => TOO_FAST],
    });
    for (const body of [undefined, "body"]) {
      const reply = await ask(body === undefined ? {} : { body });
      expect(reply.status).toBe(429);
      expect(reply.body).toBe("too_fast\n");
      expect(reply.headers).toMatchObject({
        "retry-after": "2",
        "ratelimit-limit": "10",
        "x-mesh-error": "too_fast",
      });
      expect(reply.headers["x-mesh-nack"]).toBeUndefined();
    }
    const { requestsInFlight, refused } = server.snapshot();
    expect([handled, requestsInFlight, refused]).toEqual([0, 0, { too_fast: 2 }]);
  });

  it("a layer that waits holds the handler back; its calls and the handler's inherit alike", async () => {
    const seen: unknown[] = [];
    const layer: ServerLayer = (inner) => async (request) => {
      seen.push(context.getStore());
      await new Promise((resolve) => setTimeout(resolve, 30));
      seen.push(context.getStore());
      return request.path === "/no" ? TOO_FAST : inner(request);
    };
    const echo: http.RequestListener = (request, response) => {
      seen.push(context.getStore());
      let text = "";
      request.on("data", (chunk) => (text += String(chunk)));
      request.on("end", () => {
        seen.push(context.getStore());
        response.end(text);
      });
    };
    const { server, ask } = await play(kind, echo, { serverLayers: [layer] });
    expect((await ask({ body: "late" })).body).toBe("late");
    expect(seen).toHaveLength(4);
    expect(new Set(seen).size).toBe(1);
    expect(seen[0]).toBeDefined();
    const refused = await Promise.all([ask({ path: "/no" }), ask({ path: "/no", body: "x" })]);
    expect(refused.map(({ status }) => status)).toEqual([429, 429]);
    expect((await ask({ body: "again" })).body).toBe("again");
    expect(server.snapshot().requestsInFlight).toBe(0);
  });

  it("a layer that fails: 500, and the server goes on", async () => {
    let fails = true;
    const layer: ServerLayer = (inner) => (request) => {
      if (fails) throw new Error("oops");
      return inner(request);
    };
    const lines: string[] = [];
    const log = ({ event }: { event: string }): void => void lines.push(event);
    const { server, ask } = await play(kind, OK, { serverLayers: [layer], log });
    expect(await ask()).toMatchObject({ status: 500, body: "layer_failed\n" });
    fails = false;
    expect((await ask()).status).toBe(200);
    expect(lines).toEqual(["server.layer_failed"]);
    expect(server.snapshot().refused).toEqual({ layer_failed: 1 });
  });

  it("each request is counted once, as it ended, and its end is reported", async () => {
    const mesh = createMesh({ env: {} });
    const ends: ServerEnd[] = [];
    const layer: ServerLayer = (inner) => (request) => {
      request.onEnd((end) => void ends.push(end));
      return request.path === "/fast" ? TOO_FAST : inner(request);
    };
    let active = 0;
    const handler: http.RequestListener = (request, response) => {
      active = counted(mesh, "inmesh.call.active", { direction: "inbound", service: "orders" });
      if (request.url === "/slow") return;
      response.statusCode = Number(request.url!.slice(1));
      response.end();
    };
    const { server, ask } = await play(kind, handler, {
      mesh,
      name: "orders",
      serverLayers: [layer],
      limits: { maxHeaderCount: 20 },
    });
    for (const path of ["/200", "/404", "/500", "/fast", "/readyz"]) await ask({ path });
    const headers = Object.fromEntries(Array.from({ length: 21 }, (_, i) => [`k${i}`, "v"]));
    await ask({ path: "/200", headers }).catch(() => {});
    const leaves = kind !== "injected";
    if (leaves) await expect(ask({ path: "/slow", leaveMs: 50 })).rejects.toThrow(/./);
    await until(() => server.snapshot().requestsInFlight === 0 && ends.length >= (leaves ? 5 : 4));
    const count = (more: Record<string, string>): number =>
      counted(mesh, "inmesh.calls", {
        service: "orders",
        route: "default",
        protocol: "http",
        direction: "inbound",
        ...more,
      });
    expect(active).toBe(1);
    expect(count({ outcome: "success", status: "2xx" })).toBe(1);
    expect(count({ outcome: "success", status: "4xx" })).toBe(1);
    expect(count({ outcome: "failure", status: "5xx" })).toBe(1);
    expect(count({ outcome: "overloaded", reason: "too_fast" })).toBe(1);
    expect(count({ reason: "too_many_headers" })).toBe(1);
    expect(count({ outcome: "abandoned" })).toBe(leaves ? 1 : 0);
    expect(count({})).toBe(leaves ? 6 : 5);
    expect(ends.map(({ outcome, status, reason }) => [outcome, status, reason])).toEqual([
      ["success", 200, undefined],
      ["success", 404, undefined],
      ["failure", 500, undefined],
      ["overloaded", 429, "too_fast"],
      ...(leaves ? [["abandoned", 0, undefined]] : []),
    ]);
    for (const { durationMs } of ends) expect(durationMs).toBeLessThan(30_000);
    await server.close(0);
    await mesh.close(0);
  });
});

describe.each(MADE_OR_GIVEN)("%s: a client that leaves", (kind) => {
  it("while a layer waits: the handler is not begun, and its end is reported", async () => {
    const ends: ServerEnd[] = [];
    let decide: (() => void) | undefined;
    let handled = 0;
    const layer: ServerLayer = (inner) => async (request) => {
      request.onEnd((end) => void ends.push(end));
      await new Promise<void>((resolve) => (decide = resolve));
      return inner(request);
    };
    const { server, ask } = await play(kind, () => void handled++, { serverLayers: [layer] });
    await expect(ask({ leaveMs: 50 })).rejects.toThrow(/./);
    await until(() => server.snapshot().requestsInFlight === 0);
    decide!();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(handled).toBe(0);
    expect(ends).toMatchObject([{ outcome: "abandoned", status: 0 }]);
  });
});

it("a body is asked for (100) behind the layers: not if one of them refuses", async () => {
  const server = meshServer(OK, { serverLayers: [() => () => TOO_FAST] });
  onTestFinished(() => server.close(0));
  const { port } = await server.listen(0, "127.0.0.1");
  const headers = { expect: "100-continue", "content-length": "4" };
  const request = http.request({ port, method: "POST", headers });
  let asked = false;
  request.on("continue", () => (asked = true));
  request.flushHeaders();
  const [response] = (await once(request, "response")) as [http.IncomingMessage];
  expect([response.statusCode, asked]).toEqual([429, false]);
  request.destroy();
});

it("options that are wrong are refused at start", () => {
  expect(() => meshServer(OK, { serverLayers: ["x" as never] })).toThrow(/serverLayers\[0\]/);
  expect(() => meshServer(OK, { serverLayers: {} as never })).toThrow(
    /serverLayers must be a list/,
  );
  const limits = { maxInFligth: 1, maxHops: -1 } as never;
  expect(() => meshServer(OK, { limits })).toThrow(/maxInFligth.*\n.*maxHops/s);
});
