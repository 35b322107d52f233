/** HTTP/2 keeps the Transport contract: without TLS, over TLS, and where TLS agrees on HTTP/1.1. */
import { once } from "node:events";
import { createServer as createH1, type Server } from "node:https";
import {
  createSecureServer,
  createServer,
  type Http2Server,
  type ServerHttp2Session,
} from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { Readable } from "node:stream";
import { DEFAULT_POLICIES, NodeRuntime, type ServiceConfig, ServiceTls } from "@inmesh/core/spi";
import {
  countResources,
  expectBaseline,
  transportConformance,
  type Behaviour,
  type ConformanceAdapter,
} from "@inmesh/core/testing";
import { afterAll, beforeAll, describe, it } from "vitest";
import { HttpConnection } from "../src/client/connection.ts";
import type { HttpResult } from "../src/client/lease.ts";
import type { HttpReply } from "../src/client/reply.ts";
import { HttpRequest } from "../src/client/request.ts";
import { TestCa } from "./support/ca.ts";

type Kind = "cleartext" | "tls" | "tls, HTTP/1.1 only";

const ca = new TestCa();
const pair = ca.issue();

function adapter(kind: Kind): ConformanceAdapter<HttpRequest, HttpResult> {
  return {
    streams: true,
    queues: true,
    async open(queueing) {
      const seen = new Map<string, number>();
      const sockets = new Set<Socket>();
      const sessions = new Set<ServerHttp2Session>();
      const server = serverOf(kind, queueing, seen, sessions);
      server.on(kind === "cleartext" ? "connection" : "secureConnection", (socket: Socket) => {
        sockets.add(socket);
        socket.on("error", () => {});
        socket.on("close", () => sockets.delete(socket));
      });
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      const { port } = server.address() as AddressInfo;
      let open = true;
      const stop = async (): Promise<void> => {
        if (!open) return;
        open = false;
        const closed = once(server, "close");
        server.close();
        for (const session of sessions) session.destroy();
        for (const socket of sockets) socket.destroy();
        await closed;
      };
      const service: ServiceConfig = {
        ...DEFAULT_POLICIES,
        name: "svc",
        authority: "svc",
        scheme: kind === "cleartext" ? "http" : "https",
        discovery: { kind: "static", endpoints: [] },
        routes: [],
        http2: true,
        tls: { ...DEFAULT_POLICIES.tls, ca: ca.cert },
        limits: { ...DEFAULT_POLICIES.limits, maxConnectionsPerEndpoint: queueing ? 1 : 8 },
      };
      const runtime = new NodeRuntime();
      const tls = kind === "cleartext" ? undefined : new ServiceTls(service, runtime);
      const connection = new HttpConnection({ host: "127.0.0.1", port }, service, runtime, tls);
      return {
        connection,
        request(behaviour: Behaviour, streamed = false) {
          if (behaviour === "refuse") void stop();
          const body = streamed ? Readable.from([Buffer.from("once")]) : null;
          return new HttpRequest(`/${behaviour}`, streamed ? "POST" : "GET", undefined, body);
        },
        read: (reply) => (reply as HttpReply).bytes(),
        headerOf: async (reply, name) => (reply as HttpReply).headers.get(name),
        seen: (behaviour) => seen.get(behaviour) ?? 0,
        close: stop,
      };
    },
  };
}

function serverOf(
  kind: Kind,
  queueing: boolean,
  seen: Map<string, number>,
  sessions: Set<ServerHttp2Session>,
): Http2Server | Server {
  const count = (path: string): string => {
    const behaviour = path.slice(1);
    seen.set(behaviour, (seen.get(behaviour) ?? 0) + 1);
    return behaviour;
  };
  const settings = queueing ? { maxConcurrentStreams: 1 } : {};
  if (kind === "tls, HTTP/1.1 only") {
    return createH1(pair, (request, response) => {
      const behaviour = count(request.url!);
      request.resume();
      if (behaviour === "answer") response.end("whole");
      else if (behaviour === "break") request.socket.destroy();
      else if (behaviour !== "silence") {
        response.writeHead(200, { "content-length": 1000 });
        response.write("part");
        if (behaviour === "break-in-body") setTimeout(() => request.socket.destroy(), 20);
      }
    });
  }
  const server =
    kind === "tls" ? createSecureServer({ ...pair, settings }) : createServer({ settings });
  server.on("session", (session: ServerHttp2Session) => {
    sessions.add(session);
    session.on("error", () => {});
    session.on("close", () => sessions.delete(session));
  });
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    stream.resume();
    const behaviour = count(headers[":path"]!);
    if (behaviour === "answer") {
      stream.respond({ ":status": 200 });
      stream.end("whole");
    } else if (behaviour === "break") stream.session?.destroy();
    else if (behaviour !== "silence") {
      stream.respond({ ":status": 200 });
      stream.write("part");
      if (behaviour === "break-in-body") setTimeout(() => stream.session?.destroy(), 20);
    }
  });
  return server as Http2Server;
}

let baseline = countResources();
beforeAll(async () => {
  // What TLS and HTTP/2 open once must not count.
  for (const kind of ["tls", "cleartext"] as const) {
    const first = await adapter(kind).open(false);
    await first.connection.probe();
    await first.connection.close(0);
    await first.close();
  }
  baseline = countResources();
});
afterAll(() => expectBaseline(baseline));

for (const kind of ["cleartext", "tls", "tls, HTTP/1.1 only"] as const) {
  describe(`transport conformance: HTTP/2, ${kind}`, () => {
    for (const { title, run } of transportConformance(adapter(kind))) it(title, run);
  });
}
