/** Requests of `mesh.agent()` that wait, are aborted or fail: beside node's own Agent, on real sockets. */
import { AsyncLocalStorage } from "node:async_hooks";
import { once } from "node:events";
import http, { Agent, request, type ClientRequest, type IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { MeshError } from "@inmesh/core/spi";
import type { HttpMesh } from "@inmesh/http";
import axios from "axios";
import got from "got";
import { describe, expect, it, onTestFinished } from "vitest";
import { AgentError } from "../src/doors/agent-error.ts";
import { startBlackHole } from "./support/children.ts";
import { doorsOf } from "./support/doors.ts";
import { answering, counted, OK, peerOf, serve, until } from "./wire.ts";
import { freeAddress } from "../../../scripts/free-port.ts";

async function blackHole(): Promise<string> {
  const hole = await startBlackHole();
  onTestFinished(() => hole[Symbol.asyncDispose]());
  return `127.0.0.1:${hole.port}`;
}

const ask = (mesh: HttpMesh, options: http.RequestOptions = {}): ClientRequest =>
  request("http://orders/", { agent: mesh.agent(), ...options });

async function errorOf(asked: ClientRequest): Promise<Error & { code?: string; cause?: unknown }> {
  asked.end();
  const [error] = (await once(asked, "error")) as [Error];
  return error;
}

/** What a request says of its end, in order; in the end its `close`. */
async function storyOf(asked: ClientRequest): Promise<string[]> {
  const story: string[] = [];
  asked.on("abort", () => story.push("abort"));
  asked.on("timeout", () => story.push("timeout"));
  asked.on("error", (error: Error & { code?: string }) =>
    story.push(`error ${error.code ?? error.message}`),
  );
  asked.on("response", (reply) => {
    story.push("response");
    reply.on("error", (error: Error & { code?: string }) => story.push(`reply ${error.code}`));
    reply.on("aborted", () => story.push("reply aborted"));
  });
  await new Promise<void>((resolve) => asked.once("close", resolve));
  story.push("close");
  await new Promise((resolve) => setTimeout(resolve, 20));
  return story;
}

type End = (asked: ClientRequest) => void;
const ENDS: Record<string, End> = {
  abort: (asked) => asked.abort(),
  "destroy()": (asked) => void asked.destroy(),
  "destroy(error)": (asked) => void asked.destroy(new Error("mine")),
  "destroy(error) twice": (asked) => {
    asked.destroy(new Error("mine"));
    asked.destroy(new Error("again"));
  },
};

describe("R14 LC: a request's own timeout while it has no socket", () => {
  it("R14 LC: runs from the request, not from the connection, and says so once", async () => {
    const mesh = doorsOf([await blackHole()], { timeouts: { connectMs: 1_000 } });
    const startedAt = performance.now();
    const asked = ask(mesh, { timeout: 200 });
    let timeouts = 0;
    asked.on("timeout", () => {
      timeouts++;
      asked.destroy(new Error("too slow"));
    });
    expect((await errorOf(asked)).message).toBe("too slow");
    expect(performance.now() - startedAt).toBeGreaterThan(190);
    expect(performance.now() - startedAt).toBeLessThan(600);
    expect(timeouts).toBe(1);
    await until(() => mesh.snapshot().services[0]!.callsInFlight === 0);
  });

  it("R14 LC: a request that goes on after its timeout gets its reply, and no second `timeout`", async () => {
    let free!: () => void;
    const held = new Promise<void>((resolve) => (free = resolve));
    const { address } = await serve(async (incoming, outgoing) => {
      if (incoming.url === "/first") await held;
      outgoing.end("ok");
    });
    const mesh = doorsOf([address], { limits: { maxConnectionsPerEndpoint: 1 } });
    const first = ask(mesh, { path: "/first" });
    first.on("response", (reply) => reply.resume()).end();
    await once(first, "socket");
    const queued = ask(mesh, { timeout: 50 });
    let timeouts = 0;
    queued.on("timeout", () => {
      if (++timeouts === 1) free();
    });
    queued.end();
    const [reply] = (await once(queued, "response")) as [IncomingMessage];
    expect(await text(reply)).toBe("ok");
    expect(timeouts).toBe(1);
  });

  it("R14 LC: after the connection it is node's: quiet for so long", async () => {
    const peer = await peerOf(async (connection) => void (await connection.readRequest()));
    const mesh = doorsOf([peer.address]);
    for (const make of [() => ask(mesh, { timeout: 60 }), () => ask(mesh).setTimeout(60)]) {
      const one = make();
      const story = storyOf(one);
      one.on("timeout", () => void one.destroy()).end();
      expect(await story).toEqual(["timeout", "error ECONNRESET", "close"]);
    }
  });
});

describe("R33 LC: request of an agent that is aborted or fails", () => {
  it("R33 LC: before it has a socket it ends at once, as node ends one", async () => {
    const mesh = doorsOf([await blackHole()], { timeouts: { connectMs: 2_000 } });
    const node = new Agent({ keepAlive: true, maxSockets: 1 });
    const stories = async (agent: Agent, options: http.RequestOptions): Promise<unknown> => {
      const all: Record<string, string[]> = {};
      for (const [name, end] of Object.entries(ENDS)) {
        const asked = request({ ...options, agent });
        const story = storyOf(asked);
        asked.end();
        end(asked);
        all[name] = await story;
      }
      return all;
    };
    const { address } = await serve((_incoming, outgoing) => void outgoing.end());
    const [host, port] = address.split(":");
    const expected = await stories(node, { host, port });
    node.destroy();
    const startedAt = performance.now();
    expect(await stories(mesh.agent(), { host: "orders" })).toEqual(expected);
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    expect(expected).toEqual({
      abort: ["abort", "close"],
      "destroy()": ["error ECONNRESET", "close"],
      "destroy(error)": ["error mine", "close"],
      "destroy(error) twice": ["error mine", "close"],
    });
    // A turn later too, and by a signal.
    for (const [name, end] of Object.entries(ENDS)) {
      const asked = ask(mesh);
      const story = storyOf(asked);
      asked.end();
      await new Promise((resolve) => setTimeout(resolve, 10));
      end(asked);
      expect(await story, name).toEqual((expected as Record<string, string[]>)[name]);
    }
    const cancel = new AbortController();
    const signalled = ask(mesh, { signal: cancel.signal });
    const story = storyOf(signalled);
    signalled.end();
    setTimeout(() => cancel.abort(), 10);
    expect(await story).toEqual(["error ABORT_ERR", "close"]);
    await until(() => mesh.snapshot().services[0]!.callsInFlight === 0);
    expect(counted(mesh, "inmesh.attempts", { outcome: "failure" })).toBe(0);
  });

  it("R33 LC: no listener is needed for a request that was aborted while it waited", async () => {
    const mesh = doorsOf([await freeAddress()], { retry: { attempts: 1 } });
    const asked = ask(mesh);
    asked.end();
    asked.abort();
    await new Promise<void>((resolve) => asked.once("close", resolve));
    expect(Object.hasOwn(asked, "destroy")).toBe(false);
  });

  it("R33 LC: with a socket, before and in the reply, it is node's own story", async () => {
    const peer = await peerOf(async (connection) => {
      const { head } = await connection.readRequest();
      if (!head.startsWith("GET /body")) return;
      await connection.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
    });
    const [host, port] = peer.address.split(":");
    const mesh = doorsOf([peer.address]);
    const node = new Agent({ keepAlive: true });
    onTestFinished(() => node.destroy());
    for (const path of ["/head", "/body"]) {
      for (const [name, end] of Object.entries(ENDS)) {
        const run = async (agent: Agent, options: http.RequestOptions): Promise<string[]> => {
          const before = peer.requests.length;
          const asked = request({ ...options, path, agent });
          const story = storyOf(asked);
          asked.end();
          if (path === "/body") await once(asked, "response");
          else await until(() => peer.requests.length > before);
          end(asked);
          return story;
        };
        const expected = await run(node, { host, port });
        expect(await run(mesh.agent(), { host: "orders" }), `${name} ${path}`).toEqual(expected);
      }
    }
    await until(() => mesh.snapshot().services[0]!.callsInFlight === 0);
  });

  it("R33 LC: a deadline in the body is the reply's error, and needs no listener at the request", async () => {
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      await connection.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
    });
    const mesh = doorsOf([peer.address], { timeouts: { request: "150ms" } });
    const asked = ask(mesh).end();
    const [reply] = (await once(asked, "response")) as [IncomingMessage];
    expect(asked.listenerCount("error")).toBe(0);
    await expect(text(reply)).rejects.toMatchObject({
      code: "ETIMEDOUT",
      cause: { code: "deadline_exceeded", reason: "call_deadline" },
    });
    await until(() => counted(mesh, "inmesh.attempts", { outcome: "timeout" }) === 1);
    // Nor does an unread reply.
    const unread = ask(mesh).end();
    await once(unread, "response");
    await new Promise<void>((resolve) => unread.once("close", resolve));
    await until(() => mesh.snapshot().services[0]!.callsInFlight === 0);
  });

  it("R33 LC: codes are node's, the MeshError is the cause", async () => {
    const mesh = doorsOf([await freeAddress()]);
    const refused = await errorOf(ask(mesh));
    expect(refused).toMatchObject({
      name: "AgentError",
      code: "ECONNREFUSED",
      reason: "connect_refused",
      progress: "not-sent",
      cause: { code: "connect_failed" },
    });
    expect(refused.cause).toBeInstanceOf(MeshError);
    expect(refused.message).toBe((refused.cause as Error).message);
    const hole = doorsOf([await blackHole()], { timeouts: { connectMs: 100 } });
    expect(await errorOf(ask(hole))).toMatchObject({
      code: "ETIMEDOUT",
      reason: "connect_timeout",
    });
    const empty = new MeshError({
      code: "no_endpoint",
      reason: "no_endpoints",
      message: "orders: discovery gave an empty list",
      progress: "not-sent",
    });
    expect(new AgentError(empty)).toMatchObject({ code: "ENOTFOUND", reason: "no_endpoints" });
    // Programs search Node's messages for the code.
    expect(new AgentError(empty).message).toBe("orders: discovery gave an empty list (ENOTFOUND)");
    const socket = doorsOf(["unix:/nowhere/orders.sock"]);
    expect(await errorOf(ask(socket))).toMatchObject({ code: "ENOENT" });
    const silent = await peerOf(async (connection) => void (await connection.readRequest()));
    const slow = doorsOf([silent.address], { timeouts: { request: "100ms" } });
    expect(await errorOf(ask(slow))).toMatchObject({ code: "ETIMEDOUT", reason: "call_deadline" });
    const reset = await peerOf(async (connection) => {
      await connection.readRequest();
      connection.rst();
    });
    expect(await errorOf(ask(doorsOf([reset.address])))).toMatchObject({ code: "ECONNRESET" });
  });

  it("R33 LC: got repeats by its default list, and axios has the code", async () => {
    let refusals = 0;
    const address = await freeAddress();
    const mesh = doorsOf([address], { retry: { attempts: 1 } });
    const agent = mesh.agent();
    const failed = await got
      .default("http://orders/", {
        agent: { http: agent },
        retry: { limit: 2, calculateDelay: ({ attemptCount }) => (attemptCount <= 2 ? 1 : 0) },
        hooks: { beforeRetry: [() => void refusals++] },
      })
      .catch((error: Error & { code: string }) => error);
    expect(failed).toMatchObject({ code: "ECONNREFUSED" });
    expect(refusals).toBe(2);
    await expect(axios.get("http://orders/", { httpAgent: agent })).rejects.toMatchObject({
      code: "ECONNREFUSED",
      cause: { name: "AgentError", reason: "all_open" },
    });
  });

  it("R33 LC: a Host that is not the service's is refused, as at the dispatcher", async () => {
    const peer = await answering(OK);
    const mesh = doorsOf([peer.address], { url: "http://orders.example:81" });
    const rule = "the host header belongs to the service";
    const refused = await errorOf(ask(mesh, { headers: { host: "other.example" } }));
    expect(refused.message).toContain(rule);
    expect(refused).toMatchObject({ cause: { code: "bad_request", reason: "bad_header" } });
    await expect(
      mesh.dispatcher.request({
        origin: "http://orders",
        path: "/",
        method: "GET",
        headers: { host: "other.example" },
      }),
    ).rejects.toThrow(rule);
    for (const host of [undefined, "orders", "ORDERS", "orders:80", "orders.example:81"]) {
      const asked = ask(mesh, host === undefined ? {} : { headers: { host } }).end();
      const [reply] = (await once(asked, "response")) as [IncomingMessage];
      expect(await text(reply)).toBe("ok");
    }
    for (const { head } of peer.requests) expect(head).toMatch(/\r\nhost: orders.example:81\r\n/i);
    expect(peer.requests).toHaveLength(5);
  });
});

describe("R28 LC: limit of a reply's head at every door", () => {
  it("R28 LC: bytes, fields and interim replies are limited at the agent as at the dispatcher", async () => {
    const field = (i: number): string => `x-${i}: ${"v".repeat(20)}\r\n`;
    const fields = (count: number): string =>
      Array.from({ length: count }, (_, i) => field(i)).join("");
    const heads: Record<string, string> = {
      bytes: `HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: ${"v".repeat(3_000)}\r\n\r\nok`,
      fields: `HTTP/1.1 200 OK\r\ncontent-length: 2\r\n${fields(201)}\r\nok`,
      reason: `HTTP/1.1 200 ${"o".repeat(3_000)}\r\ncontent-length: 2\r\n\r\nok`,
      interim: `${"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(40)}${OK}`,
    };
    for (const [name, head] of Object.entries(heads)) {
      const peer = await answering(head);
      const limits = name === "bytes" || name === "reason" ? { maxReplyHeaderBytes: 2_048 } : {};
      const mesh = doorsOf([peer.address], { limits, retry: { attempts: 1 } });
      const reason = name === "interim" ? "unexpected_1xx" : "response_header_too_large";
      const error = await errorOf(ask(mesh));
      expect(error, name).toMatchObject({ cause: { code: "bad_response", reason } });
      if (name !== "interim") expect(error.code).toBe("HPE_HEADER_OVERFLOW");
      const other = mesh.dispatcher.request({ origin: "http://orders", path: "/", method: "GET" });
      await expect(other, name).rejects.toMatchObject({ code: "bad_response", reason });
      await until(() => counted(mesh, "inmesh.attempts", { outcome: "failure" }) === 2);
      const asked = ask(mesh).on("error", () => {});
      const read = once(asked, "response").then(([reply]) => text(reply as IncomingMessage));
      asked.end();
      await expect(read, name).rejects.toThrow();
    }
  });
});

describe("R24 LC: events of a pooled connection in a caller's context", () => {
  const store = new AsyncLocalStorage<string>();
  const two = () => {
    let turn = 0;
    return peerOf(async (connection) => {
      await connection.readRequest();
      await connection.write(OK);
      await connection.readRequest();
      if (turn++ > 0) return;
      await connection.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
      await connection.pause(20);
      connection.rst();
    });
  };

  it("R24 LC: the events of a request and its reply have its own, those of the socket none", async () => {
    const mesh = doorsOf([(await two()).address]);
    const seen: Record<string, string | undefined> = {};
    const note = (what: string) => (): void => void (seen[what] = store.getStore());
    await store.run("first", async () => {
      const asked = ask(mesh).end();
      const [reply] = (await once(asked, "response")) as [IncomingMessage];
      await text(reply);
    });
    await store.run("second", async () => {
      const asked = ask(mesh).on("error", note("error"));
      asked.on("close", note("close"));
      asked.on("response", (reply) => {
        note("response")();
        reply
          .on("data", note("data"))
          .on("error", note("reply error"))
          .on("close", note("reply close"));
      });
      asked.on("socket", (socket) => {
        socket.on("error", note("socket error"));
        socket.on("close", note("socket close"));
      });
      asked.end();
      await new Promise<void>((resolve) => asked.once("close", resolve));
      await until(() => "socket close" in seen && "reply close" in seen);
    });
    expect(seen["socket error"]).toBeUndefined();
    expect(seen["socket close"]).toBeUndefined();
    for (const what of ["close", "response", "data", "reply error", "reply close"]) {
      expect([what, seen[what]]).toEqual([what, "second"]);
    }
  });
});
