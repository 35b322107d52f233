/**
 * A server whose handlers are at work when it ends their requests by itself: each wants the body first,
 * and answers in its own way. Notes what they hear. Whatever throws ends the process with 1.
 */
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from "node:http";
import * as http2 from "node:http2";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import connect from "connect";
import express from "express";
import fastify from "fastify";
import Koa from "koa";
import { meshServer, type ServerOptions } from "@inmesh/http";

const options = JSON.parse(process.argv[2]!) as {
  http2: boolean;
  given: boolean;
  limits: NonNullable<ServerOptions["limits"]>;
};
const notes: Record<string, string[]> = {};
const noter =
  (name: string) =>
  (what: string): void =>
    void (notes[name] ??= []).push(what);

function watch(request: IncomingMessage, response: ServerResponse, name: string): void {
  const note = noter(name);
  note("begun");
  for (const event of ["aborted", "end", "close"]) request.on(event, () => note(event));
  response.on("close", () => note("response close"));
  request.once("close", () => note(`whole ${request.readableEnded}, aborted ${request.aborted}`));
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request) text += String(chunk);
  return text;
}

function closeOf(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => response.once("close", () => resolve()));
}

/** All that a handler may do with its reply. */
function answer(response: ServerResponse): void {
  response.statusCode = 201;
  response.setHeader("x-late", "1");
  response.appendHeader("x-late", "2");
  response.removeHeader("x-other");
  // Node's own messages throw at these when the client has gone.
  if (!(options.http2 && options.given)) {
    response.writeContinue();
    response.writeEarlyHints({ link: "</a>; rel=preload" });
  }
  response.writeHead(200, { "x-head": "1" });
  response.flushHeaders();
  response.write("a");
  response.write(Buffer.from("b"), () => {});
  response.end("c", () => {});
}

const HANDLERS: Record<string, (request: IncomingMessage, response: ServerResponse) => unknown> = {
  "/listener"(request, response) {
    let text = "";
    request.on("data", (chunk) => (text += String(chunk)));
    request.on("end", () => {
      response.setHeader("x-length", text.length);
      response.end("answered");
    });
  },
  "/heard"(request, response) {
    request.on("error", ({ message }) => noter("/heard")(`error ${message}`)).resume();
    request.on("close", () => answer(response));
  },
  async "/await"(request, response) {
    try {
      await textOf(request);
      noter("/await")("read");
    } catch (error) {
      noter("/await")(`rejected ${(error as { code?: string }).code}`);
    } finally {
      noter("/await")("finally");
    }
    answer(response);
  },
  async "/unread"(_request, response) {
    await closeOf(response);
    await sleep(100);
    answer(response);
    noter("/unread")("answered");
  },
  async "/busy"(request, response) {
    request.resume();
    let isOver = false;
    void closeOf(response).then(() => (isOver = true));
    // It is at work when its request is ended, however long that takes, and behind that.
    for (let i = 0, turnsBehind = 0; turnsBehind < 50; i++) {
      await sleep(2);
      response.setHeader("x-turn", i);
      response.getHeaders();
      if (isOver) turnsBehind++;
    }
    answer(response);
    noter("/busy")("answered");
  },
  "/paused"(request) {
    request.once("data", () => request.pause());
  },
  async "/pipe"(request, response) {
    request.resume();
    const source = Readable.from(pieces());
    await new Promise((resolve) => request.on("close", resolve));
    source.pipe(response);
  },
  async "/pipeline"(request, response) {
    request.resume();
    await new Promise((resolve) => request.on("close", resolve));
    await pipeline(Readable.from(pieces()), response).catch(() => {});
  },
  "/echo"(request, response) {
    request.pipe(response);
  },
  async "/early"(request, response) {
    response.end("early");
    await textOf(request).then(
      () => noter("/early")("read"),
      ({ code }) => noter("/early")(`rejected ${code}`),
    );
  },
  async "/slow-to-read"(request, response) {
    await sleep(800);
    response.end(`read ${(await textOf(request)).length}`);
  },
  "/begun"(request, response) {
    request.on("end", () => response.end("answered")).resume();
    response.write("a");
  },
  "/large"(request, response) {
    request.on("end", () => response.end("answered")).resume();
    response.write(Buffer.alloc(32 << 20));
  },
};

function* pieces(): Generator<string> {
  for (let i = 0; i < 100; i++) yield "piece";
}

const expressApp = express().post(
  "/express",
  express.text({ type: () => true }),
  (request, response) => {
    response.set("x-length", String(request.body.length)).send("answered");
  },
);
const connectApp = connect().use((request: IncomingMessage, response: ServerResponse) => {
  textOf(request).then(
    () => response.end("answered"),
    () => answer(response),
  );
});
const koaApp = new Koa().use(async (context) => {
  context.set("x-first", "1");
  context.body = await textOf(context.req);
});
koaApp.silent = true;
const koa = koaApp.callback();
const fastifyApp = fastify(options.http2 ? ({ http2: true } as never) : {});
fastifyApp.addContentTypeParser("*", { parseAs: "string" }, (_request, body, done) =>
  done(null, body),
);
fastifyApp.post("/fastify", async (request, reply) =>
  reply.header("x-first", "1").send(request.body),
);
await fastifyApp.ready();

const FRAMEWORKS: Record<string, (request: IncomingMessage, response: ServerResponse) => unknown> =
  {
    "/express": expressApp,
    "/connect": connectApp,
    "/koa": koa,
    "/fastify": fastifyApp.routing as never,
  };

const listener: RequestListener = (request, response) => {
  const { url = "" } = request;
  watch(request, response, url);
  void (HANDLERS[url] ?? FRAMEWORKS[url]!)(request, response);
};

const bare = options.http2 ? http2.createServer() : createServer();
if (options.given) bare.on("request", listener as never);
const server = meshServer(options.given ? bare : listener, {
  http2: options.http2,
  limits: options.limits,
});
process.on("message", (message) => {
  if (message === "report") process.send!({ notes, snapshot: server.snapshot() });
  if (message === "close") void server.close(20);
  if (message === "exit") process.disconnect();
});
const { port } = await server.listen(0, "127.0.0.1");
process.send!({ port });
