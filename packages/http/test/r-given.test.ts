/** Servers that meshServer is given, and what test libraries do with them: listeners, limits, requests without a connection. */
import { EventEmitter, once } from "node:events";
import { createServer, IncomingMessage, ServerResponse, type Server } from "node:http";
import * as http2 from "node:http2";
import { connect, type AddressInfo } from "node:net";
import connectFramework from "connect";
import express from "express";
import fastify from "fastify";
import inject, { type DispatchFunc } from "light-my-request";
import supertest from "supertest";
import { context } from "@inmesh/core";
import { meshServer, type MeshServer, type ServerOptions } from "@inmesh/http";
import { describe, expect, it, onTestFinished } from "vitest";
import { until } from "./wire.ts";

type Given = Parameters<typeof meshServer>[0];

async function listening(target: Given, options?: ServerOptions): Promise<[MeshServer, string]> {
  const server = meshServer(target, options);
  onTestFinished(() => server.close(0));
  const { port } = await server.listen(0, "127.0.0.1");
  return [server, `http://127.0.0.1:${port}`];
}

async function textOf(url: string, init?: RequestInit): Promise<string> {
  const reply = await fetch(url, init);
  return `${reply.status} ${await reply.text()}`;
}

/** The status of a reply over HTTP/2. */
async function statusOf(url: string): Promise<number> {
  const session = http2.connect(url);
  onTestFinished(() => session.destroy());
  const stream = session.request({ ":path": "/" });
  const [head] = (await once(stream, "response")) as [http2.IncomingHttpHeaders];
  return Number(head[":status"]);
}

describe("R6 LS: an application that can only do HTTP/1 is refused for HTTP/2 with a sentence", () => {
  const refusal = /an Express application cannot serve HTTP\/2.*leave out `http2`/;

  it("R6 LS: given with `http2`, as the listener of a server, and as one that is added later", async () => {
    expect(() => meshServer(express(), { http2: true })).toThrow(refusal);
    expect(() => meshServer(http2.createServer(express() as never))).toThrow(refusal);
    const server = http2.createServer();
    meshServer(server);
    expect(() => server.on("request", express() as never)).toThrow(refusal);
  });

  it("R6 LS: over HTTP/1 it is served, and what can do both is served over both", async () => {
    const app = express().get("/", (_request, response) => void response.send("ok"));
    const [, url] = await listening(app);
    expect(await textOf(url)).toBe("200 ok");
    const [, other] = await listening(
      connectFramework().use((_request, response) => void response.end("ok")),
      { http2: true },
    );
    expect(await statusOf(other)).toBe(200);
  });
});

describe("R34 LS: listeners of a given server are called as Node would", () => {
  it("R34 LS: with the server as this, once once, later ones too, in their order", async () => {
    const server = createServer();
    const calls: string[] = [];
    server.once("request", function (this: Server) {
      calls.push(`once ${this === server}`);
    });
    server.on("request", function (this: Server, _request, response) {
      calls.push(`on ${this === server}`);
      response.end("ok");
    });
    const [, url] = await listening(server);
    server.on("request", () => calls.push(`later ${context.getStore() !== undefined}`));
    server.prependListener("request", () => calls.push("first"));
    expect([await textOf(url), await textOf(url)]).toEqual(["200 ok", "200 ok"]);
    expect(calls).toEqual(
      ["first", "once true", "on true", "later true"].concat("first", "on true", "later true"),
    );
  });

  it.each(["HTTP/1.1", "HTTP/2"])(
    "R34 LS: %s: a rejected listener is answered 500 where rejections are captured",
    async (version) => {
      const fails = (): Promise<void> => Promise.reject(new Error("no"));
      EventEmitter.captureRejections = true; // looked at when an emitter is made
      const isHttp2 = version === "HTTP/2";
      const given = isHttp2 ? http2.createServer(fails as never) : createServer(fails);
      const own = meshServer(fails, { http2: isHttp2 });
      EventEmitter.captureRejections = false;
      onTestFinished(() => own.close(0));
      const { port } = await own.listen(0, "127.0.0.1");
      const [, url] = await listening(given);
      for (const each of [url, `http://127.0.0.1:${port}`]) {
        expect(isHttp2 ? await statusOf(each) : (await fetch(each)).status).toBe(500);
      }
    },
  );

  it("R34 LS: nothing answers 404 before a listener that comes after the mesh", async () => {
    const server = createServer();
    const [, url] = await listening(server);
    expect(await textOf(url)).toBe("404 ");
    server.on("request", (_request, response) => response.end("late"));
    expect(await textOf(url)).toBe("200 late");
    let continued = false;
    server.on("checkContinue", (_request, response) => {
      continued = true;
      response.writeHead(200).end("continued");
    });
    const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
    onTestFinished(() => void socket.destroy());
    socket.write("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n");
    const [bytes] = (await once(socket, "data")) as [Buffer];
    expect(bytes.toString()).toMatch(/^HTTP\/1.1 200/);
    expect(continued).toBe(true);
  });

  it("R34 LS: a server of HTTP/2 with listeners of streams alone is refused with a sentence", async () => {
    const answers = (stream: http2.ServerHttp2Stream): void => {
      stream.respond({ ":status": 204 }, { endStream: true });
    };
    const refusal = /listeners of `stream`.*listen for `request` instead/;
    expect(() => meshServer(http2.createServer().on("stream", answers))).toThrow(refusal);
    const later = http2.createServer();
    meshServer(later);
    expect(() => later.on("stream", answers)).toThrow(refusal);
    let seen = 0;
    const both = http2.createServer((_request, response) => response.end("ok"));
    both.on("stream", () => seen++);
    const [, url] = await listening(both);
    expect([await statusOf(url), seen]).toEqual([200, 1]);
  });
});

describe("R35 LS: a given server's limits never become weaker", () => {
  it("R35 LS: a request timeout below our limit on heads holds, and so does `maxConnections: 0`", async () => {
    const server = createServer({ connectionsCheckingInterval: 50 });
    server.headersTimeout = 0;
    server.requestTimeout = 300;
    const [, url] = await listening(server);
    expect([server.headersTimeout, server.requestTimeout]).toEqual([300, 300]);
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    onTestFinished(() => void socket.destroy());
    socket.resume();
    socket.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n");
    const startedAt = Date.now();
    await once(socket, "close");
    expect(Date.now() - startedAt).toBeLessThan(5_000);

    const closed = createServer((_request, response) => response.end());
    closed.maxConnections = 0;
    const [, refused] = await listening(closed);
    expect(closed.maxConnections).toBe(0);
    await expect(fetch(refused)).rejects.toThrow();
  });

  it("R35 LS: a silence that ends a connection sooner than ours would still does", async () => {
    const server = createServer(() => {});
    server.setTimeout(400);
    const [, url] = await listening(server, {
      limits: { bodyIdleTimeoutMs: 2_000, writeStallTimeoutMs: 2_000, bodyRateWindowMs: 400 },
    });
    const startedAt = Date.now();
    await expect(fetch(url)).rejects.toThrow();
    expect(Date.now() - startedAt).toBeLessThan(1_500);
  });
});

describe("R36 LS: requests without a connection", () => {
  const handler = (request: IncomingMessage, response: ServerResponse): void => {
    const names = Object.keys(request.headers).filter((name) => name.startsWith("x-"));
    request.resume();
    request.on("end", () => response.end(`${request.method} ${names.join()} ${served()}`));
  };
  const served = (): boolean => context.getStore() !== undefined;

  it("R36 LS: light-my-request, through the server's emit: served, without forged identity", async () => {
    const server = meshServer(handler);
    onTestFinished(() => server.close(0));
    const emit: DispatchFunc = (request, response) =>
      void server.server.emit("request", request, response);
    const reply = await inject(emit, {
      method: "POST",
      url: "/",
      headers: { "x-mesh-peer": "spiffe://a/b", "x-mesh-timeout-ms": "1000", "x-own": "1" },
      payload: "body",
    });
    expect(reply.body).toBe("POST x-own true");
    expect((await inject(emit, { url: "/livez" })).body).toBe("ok\n");
    expect(server.snapshot().requestsInFlight).toBe(0);
  });

  it("R36 LS: Fastify's inject, where its server is the mesh's", async () => {
    const app = fastify({
      serverFactory: (given) => meshServer(given).server as Server,
    });
    app.post("/", async (request) => request.body);
    expect((await app.inject({ method: "POST", url: "/", payload: { a: 1 } })).json()).toEqual({
      a: 1,
    });
    await app.close();
  });

  it("R36 LS: a message of Node's without a socket", async () => {
    const server = meshServer((_request, response) => response.end("ok"));
    onTestFinished(() => server.close(0));
    const request = new IncomingMessage(undefined as never);
    Object.assign(request, { url: "/", method: "GET" });
    const response = new ServerResponse(request);
    server.server.emit("request", request, response);
    expect(response.writableEnded).toBe(true);
  });

  it("R36 LS: supertest takes a MeshServer for a server, starts it and ends it", async () => {
    const app = express().get("/", (_request, response) => void response.send("ok"));
    const server = meshServer(app);
    const reply = await supertest(server as unknown as Server).get("/");
    expect([reply.status, reply.text]).toEqual([200, "ok"]);
    await until(() => server.state === "closed");
  });

  it("R36 LS: supertest starts and ends it for each request", async () => {
    const server = meshServer((_request, response) => response.end("ok"), { idleWaitMs: 0 });
    for (let i = 0; i < 3; i++) {
      const reply = (await supertest(server as unknown as Server).get("/")) as { status: number };
      expect(reply.status).toBe(200);
      await until(() => server.state === "closed");
      expect(server.address()).toBe(null);
    }
  });

  it.each(["made", "given"])(
    "R36 LS: a server that listens after its end is open, and ends again (%s)",
    async (whose) => {
      const answer = (_request: unknown, response: ServerResponse): void => void response.end("ok");
      const options = { discoveryWaitMs: 0, idleWaitMs: 0 };
      const server = meshServer(whose === "made" ? answer : createServer(answer), options);
      await server.listen(0, "127.0.0.1");
      await server.close();
      const { port } = await server.listen(0, "127.0.0.1");
      expect(server.state).toBe("open");
      const url = `http://127.0.0.1:${port}`;
      expect((await fetch(`${url}/readyz`)).status).toBe(200);
      const reply = await fetch(url);
      expect([await reply.text(), reply.headers.get("connection")]).toEqual(["ok", "keep-alive"]);
      await server.drain(1_000);
      expect([server.state, server.address()]).toEqual(["closed", null]);
    },
  );
});
