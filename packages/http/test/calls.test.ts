/** What a call of `meshClient` may say: json, query, default headers, hooks and errors for bad statuses. */
import type { IncomingHttpHeaders } from "node:http";
import { text } from "node:stream/consumers";
import { isMeshError, type LogLine, type MeshOptions } from "@inmesh/core";
import {
  meshClient,
  StatusError,
  type ClientHooks,
  type ClientOptions,
  type HookedError,
  type HookedReply,
  type HookedRetry,
  type MeshClient,
} from "@inmesh/http";
import { describe, expect, it } from "vitest";
import { failureOf, meshOf, peerOf, rejectionOf, serve, type Served } from "./wire.ts";

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Answers with what it was asked for; `x-statuses` are the statuses of the first answers. */
async function echo(statuses: number[] = [], body?: string): Promise<Served> {
  return serve((request, response) => {
    void text(request).then((sent) => {
      response.statusCode = statuses.shift() ?? 200;
      const { method, url, headers } = request;
      response.setHeader("x-echo", "yes");
      response.end(body ?? JSON.stringify({ method, url, headers, body: sent }));
    });
  });
}

const retry = { attempts: 3, backoffMs: 1 };

function clientTo(
  address: string,
  options: ClientOptions = {},
  more: MeshOptions = {},
): MeshClient {
  const mesh = meshOf({
    ...more,
    config: { services: { orders: { discovery: { static: [address] }, retry } } },
  });
  return meshClient("orders", { mesh, ...options });
}

async function seen(client: MeshClient, ...args: Parameters<MeshClient["fetch"]>): Promise<Seen> {
  return (await client.fetch(...args)).json<Seen>();
}

describe("LC: json", () => {
  it("P20 LC: is sent with its type and length", async () => {
    const client = clientTo((await echo()).address);
    const { method, headers, body } = await seen(client, "/", {
      method: "POST",
      json: { a: [1, "ü"] },
    });
    expect({ method, body }).toEqual({ method: "POST", body: '{"a":[1,"ü"]}' });
    expect(headers["content-type"]).toBe("application/json");
    expect(headers["content-length"]).toBe("14");
  });

  it("P20 LC: null, false and 0 are values", async () => {
    const client = clientTo((await echo()).address);
    for (const json of [null, false, 0, ""]) {
      const { body } = await seen(client, "/", { method: "PUT", json });
      expect(body).toBe(JSON.stringify(json));
    }
  });

  it("P20 LC: a content-type of one's own stays", async () => {
    const client = clientTo((await echo()).address);
    const type = "application/merge-patch+json";
    const init = { method: "PATCH", json: {}, headers: { "Content-Type": type } };
    expect((await seen(client, "/", init)).headers["content-type"]).toBe(type);
  });

  it("P20 LC: is sent again by a retry", async () => {
    const client = clientTo((await echo([503, 503])).address);
    const reply = await client.fetch("/", { method: "PUT", json: { a: 1 } });
    expect(reply.mesh.attempts).toBe(3);
    expect((await reply.json<Seen>()).body).toBe('{"a":1}');
  });

  const circular: unknown[] = [];
  circular.push(circular);
  it.each([
    [
      { json: {}, body: "x", method: "POST" },
      "orders: json and body exclude each other: give one of them",
    ],
    [{ json: {} }, 'orders: a call with json needs its method, such as method: "POST"'],
    [{ method: "POST", json: () => 1 }, "orders: json must be what JSON can hold, got a function"],
    [{ method: "POST", json: circular }, /^orders: json cannot be written: .*circular/],
    [{ method: "POST", json: 1n }, /^orders: json cannot be written: .*BigInt/],
  ])("P20 LC: a mistake is named: %#", async (init, message) => {
    const client = clientTo((await echo()).address);
    const error = await failureOf(client.fetch("/", init));
    expect(error.code).toBe("bad_request");
    expect(error.message).toMatch(message);
  });
});

describe("LC: query", () => {
  it.each([
    ["/", { a: 1, b: true, c: "x y&z=ü", d: undefined }, "/?a=1&b=true&c=x+y%26z%3D%C3%BC"],
    ["/v1?x=1", { tag: ["a", "b", undefined] }, "/v1?x=1&tag=a&tag=b"],
    ["/v1?", { a: "" }, "/v1?a="],
    ["/v1?x&", { a: 1 }, "/v1?x&a=1"],
    ["/v1", {}, "/v1"],
    [
      "/v1",
      new URLSearchParams([
        ["a", "1"],
        ["a", "2"],
      ]),
      "/v1?a=1&a=2",
    ],
  ])("P20 LC: %s with %o is %s", async (path, query, url) => {
    const client = clientTo((await echo()).address);
    expect((await seen(client, path, { query })).url).toBe(url);
  });

  it.each([
    [{ a: null }, /^orders: query: "a" must be a text, .* got null; leave it out/],
    [{ a: { b: 1 } }, /^orders: query: "a" must be .*got an object/],
    ["a=1", /^orders: query must be an object or URLSearchParams, got the text/],
  ])("P20 LC: a mistake is named: %o", async (query, message) => {
    const client = clientTo((await echo()).address);
    const error = await failureOf(client.fetch("/", { query: query as never }));
    expect(error.message).toMatch(message);
  });
});

describe("LC: default headers of a client", () => {
  it("P20 LC: stand where the call has none of the name, in any case, and stay its own client's", async () => {
    const { address } = await echo();
    const client = clientTo(address, { headers: { "X-Team": "a", accept: "text/plain" } });
    const other = meshClient("orders", { mesh: client.mesh, headers: { "x-team": "b" } });
    const bare = meshClient("orders", { mesh: client.mesh });
    expect((await seen(client, "/", { headers: { Accept: "x/y" } })).headers).toMatchObject({
      "x-team": "a",
      accept: "x/y",
    });
    expect((await seen(other, "/")).headers["x-team"]).toBe("b");
    expect((await seen(bare, "/")).headers["x-team"]).toBe(undefined);
  });

  it("P20 LC: a function is asked for each call, and what it throws fails that call", async () => {
    let token = 0;
    const client = clientTo((await echo()).address, {
      headers: () => {
        if (token === 2) throw new Error("no token");
        return { authorization: `t${token++}` };
      },
    });
    expect((await seen(client, "/")).headers.authorization).toBe("t0");
    expect((await seen(client, "/")).headers.authorization).toBe("t1");
    expect(await rejectionOf(client.fetch("/"))).toMatchObject({ message: "no token" });
  });

  it("P20 LC: an idempotency key among them counts", async () => {
    const client = clientTo((await echo([503])).address, { headers: { "idempotency-key": "k" } });
    expect((await client.fetch("/", { method: "POST", body: "x" })).mesh.attempts).toBe(2);
  });

  it("P20 LC: what is wrong is found when the client is made", () => {
    expect(() => clientTo("127.0.0.1:1", { headers: { host: "x" } })).toThrow(/host/);
    expect(() => clientTo("127.0.0.1:1", { hooks: 1 as never })).toThrow(
      /hooks: must be an object/,
    );
  });
});

describe("LC: hooks of a client", () => {
  function recorded(): { lines: [string, unknown][]; hooks: Required<ClientHooks> } {
    const lines: [string, unknown][] = [];
    const add = (name: string) => (info: unknown) => void lines.push([name, info]);
    const hooks = {
      onRequest: add("request"),
      onReply: add("reply"),
      onRetry: add("retry"),
      onError: add("error"),
    };
    return { lines, hooks };
  }

  it("P20 LC: see a call, its retries and its reply", async () => {
    const { lines, hooks } = recorded();
    const { address } = await echo([503, 503]);
    const client = clientTo(address, { hooks });
    await (await client.fetch("/a", { query: { b: 1 } })).text();
    expect(lines.map(([name]) => name)).toEqual(["request", "retry", "retry", "reply"]);
    const about = { service: "orders", method: "GET", path: "/a?b=1" };
    expect(lines[0]![1]).toEqual(about);
    const retries = [lines[1]![1], lines[2]![1]] as HookedRetry[];
    expect(retries[0]).toMatchObject({ ...about, attempt: 1, status: 503, endpoint: address });
    expect(retries[1]).toMatchObject({ attempt: 2, error: undefined });
    expect(retries[0]!.pauseMs).toBeGreaterThanOrEqual(0);
    const reply = lines[3]![1] as HookedReply;
    expect(reply).toMatchObject({ ...about, status: 200, mesh: { attempts: 3 } });
    expect(reply.headers.get("x-echo")).toBe("yes");
  });

  it("P20 LC: see an error, with what the caller gets", async () => {
    const { lines, hooks } = recorded();
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      connection.rst();
    });
    const client = clientTo(peer.address, { hooks });
    const error = await failureOf(client.fetch("/", { method: "POST" }));
    expect(lines.map(([name]) => name)).toEqual(["request", "error"]);
    expect(lines[1]![1] as HookedError).toMatchObject({ error, noRetry: "not_idempotent" });
  });

  it("P2 LC: what they throw, or reject with, is logged and hurts no call", async () => {
    const log: LogLine[] = [];
    const boom = (): never => {
      throw new Error("boom");
    };
    const reject = (): Promise<never> => Promise.reject(new Error("later"));
    const hooks = { onRequest: boom, onReply: reject, onRetry: boom, onError: boom };
    const client = clientTo(
      (await echo([503])).address,
      { hooks },
      { log: (line) => log.push(line) },
    );
    expect((await client.fetch("/")).mesh.attempts).toBe(2);
    await expect.poll(() => log.filter(({ event }) => event === "hook.failed")).toHaveLength(3);
    for (let i = 0; i < 20; i++) await client.fetch("/");
    await expect.poll(() => log.filter(({ event }) => event === "hook.failed")).toHaveLength(20);
    await client.mesh.close(0);
    expect((await failureOf(client.fetch("/"))).code).toBe("closed");
  });
});

describe("LC: throwOnError", () => {
  it("P20 LC: a status from 400 up rejects, with status, headers and body", async () => {
    const { address } = await echo([404], '{"error":"no such order"}');
    const client = clientTo(address, { throwOnError: true });
    async function thePlaceOfTheCall(): Promise<void> {
      await client.fetch("/v1/orders/secret");
    }
    const error = (await rejectionOf(thePlaceOfTheCall())) as StatusError;
    expect(error).toBeInstanceOf(StatusError);
    expect(isMeshError(error)).toBe(true);
    expect(error).toMatchObject({
      code: "bad_status",
      reason: "client_error",
      status: 404,
      body: '{"error":"no such order"}',
      isBodyCut: false,
      endpoint: address,
      attempts: 1,
    });
    expect(error.headers.get("x-echo")).toBe("yes");
    expect(error.stack).toContain("thePlaceOfTheCall");
    const json = JSON.stringify(error);
    expect(JSON.parse(json)).toMatchObject({ status: 404, code: "bad_status" });
    expect(json + error.message).not.toMatch(/secret|no such order/);
  });

  it("P20 LC: is asked for by one call, and taken back by one", async () => {
    const { address } = await echo([500, 500, 500, 404, 404]);
    const client = clientTo(address);
    const error = await failureOf(client.fetch("/", { throwOnError: true }));
    expect(error).toMatchObject({ reason: "server_error", attempts: 3, noRetry: "attempts" });
    const strict = meshClient("orders", { mesh: client.mesh, throwOnError: true });
    expect((await strict.fetch("/", { throwOnError: false })).status).toBe(404);
    expect((await client.fetch("/")).status).toBe(404);
  });

  it("P20 LC: no more than 16 KiB of the body is kept, and the connection is not held", async () => {
    const { address } = await echo([400], "x".repeat(1_000_000));
    const client = clientTo(address, { throwOnError: true });
    const error = (await rejectionOf(client.fetch("/"))) as StatusError;
    expect(error.body).toBe("x".repeat(16_384));
    expect(error.isBodyCut).toBe(true);
    await expect.poll(() => client.mesh.snapshot().services[0]!.callsInFlight).toBe(0);
  });

  it("P20 LC: a body that is cut is shown as far as it came", async () => {
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      await connection.write("HTTP/1.1 400 Bad Request\r\ncontent-length: 10\r\n\r\nhalf");
      connection.fin();
    });
    const error = await rejectionOf(clientTo(peer.address, { throwOnError: true }).fetch("/"));
    expect(error).toMatchObject({ status: 400, body: "half", isBodyCut: true });
  });

  it("P20 LC: hooks see reply and error", async () => {
    const heard: string[] = [];
    const client = clientTo((await echo([404])).address, {
      throwOnError: true,
      hooks: { onReply: () => heard.push("reply"), onError: () => heard.push("error") },
    });
    await failureOf(client.fetch("/"));
    expect(heard).toEqual(["reply", "error"]);
  });
});
