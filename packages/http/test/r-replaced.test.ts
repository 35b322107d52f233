/** R6: handlers that make requests over HTTP/2 messages of HTTP/1, as an application of Express does. */
import { once } from "node:events";
import type { RequestListener } from "node:http";
import * as http2 from "node:http2";
import express from "express";
import type { LogLine } from "@inmesh/core";
import { meshServer, type MeshServer } from "@inmesh/http";
import { expect, it, onTestFinished } from "vitest";
import { sleep, until } from "./wire.ts";

const app = express();
app.all("/", (_request, response) => void response.send("ok"));

const WAYS: Record<string, RequestListener> = {
  "Express inside a function": (request, response) => app(request, response),
  "the prototype of the request alone": (request) =>
    void Object.setPrototypeOf(request, app.request),
  "the prototype of the response alone": (_request, response) =>
    void Object.setPrototypeOf(response, app.response),
};
const SERVERS = ["of its own", "given"] as const;
const CASES = Object.keys(WAYS).flatMap((way) => SERVERS.map((server) => [way, server] as const));

async function start(
  handler: RequestListener,
  kind: (typeof SERVERS)[number],
  log: LogLine[],
): Promise<MeshServer> {
  const options = { name: "shop", log: (line: LogLine) => void log.push(line) };
  const server =
    kind === "given"
      ? meshServer(http2.createServer(handler as never), options)
      : meshServer(handler, { ...options, http2: true });
  onTestFinished(() => server.close(0));
  await server.listen(0, "127.0.0.1");
  return server;
}

function clientOf(server: MeshServer): http2.ClientHttp2Session {
  const session = http2.connect(`http://127.0.0.1:${server.address()!.port}`);
  onTestFinished(() => session.destroy());
  return session;
}

/** Test runners fail a test with an uncaught exception: none of these may cause one. */
it.each(CASES)(
  "R6 LS: %s, on a server %s: 505, nothing is in flight, and the log says why",
  async (way, kind) => {
    const log: LogLine[] = [];
    const server = await start(WAYS[way]!, kind, log);
    const session = clientOf(server);
    for (const body of [undefined, "x".repeat(100_000)]) {
      const stream = session.request({
        ":path": "/",
        ":method": body === undefined ? "GET" : "POST",
      });
      stream.on("error", () => {}); // it is asked to stop sending
      if (body === undefined) stream.end();
      else stream.end(body);
      const [head] = (await once(stream, "response")) as [http2.IncomingHttpHeaders];
      expect(head[":status"]).toBe(505);
    }
    await until(() => server.snapshot().requestsInFlight === 0);
    await sleep(20); // what the application does later
    expect(server.snapshot().refused).toEqual({ http1_application: 2 });
    expect(log).toHaveLength(1);
    expect(log[0]).toMatchObject({ level: "warn", event: "server.http1_application" });
    expect(log[0]!.message).toMatch(
      /^shop: the handler replaced the prototype .* Leave out `http2`/,
    );
    await server.close(0);
  },
);

it.each(SERVERS)(
  "R6 LS: prototypes that are replaced later, on a server %s: nothing stays in flight",
  async (kind) => {
    let replaced = 0;
    const handler: RequestListener = (request, response) =>
      void setTimeout(() => {
        Object.setPrototypeOf(request, app.request);
        Object.setPrototypeOf(response, app.response);
        replaced++;
      }, 5);
    const server = await start(handler, kind, []);
    const session = clientOf(server);
    for (const method of ["GET", "POST"]) {
      const stream = session.request({ ":path": "/", ":method": method });
      stream.on("error", () => {});
      if (method === "GET") stream.end();
      else stream.write("x");
      const before = replaced;
      await until(() => replaced > before);
      stream.close(http2.constants.NGHTTP2_CANCEL);
      await until(() => server.snapshot().requestsInFlight === 0);
    }
    await server.close(0);
  },
);
