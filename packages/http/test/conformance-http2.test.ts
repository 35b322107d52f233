/** HTTP/2 keeps the Transport contract: without TLS, over TLS, and where TLS agrees on HTTP/1.1. */
import { once, type EventEmitter } from "node:events";
import { createServer as createH1, type Server } from "node:https";
import {
  createSecureServer,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
} from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { Readable } from "node:stream";
import { DEFAULT_POLICIES, NodeRuntime, type ServiceConfig, ServiceTls } from "@inmesh/core/spi";
import {
  countResources,
  expectBaseline,
  PLAY,
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
    bodies: true,
    async open(queueing) {
      const seen: Seen = { counts: new Map(), heads: [], bodies: [], open: 0 };
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
        requestWith: (text) => new HttpRequest("/", "PUT", undefined, text),
        read: (reply) => (reply as HttpReply).bytes(),
        headerOf: async (reply, name) => (reply as HttpReply).headers.get(name),
        seen: (behaviour) => seen.counts.get(behaviour) ?? 0,
        heads: seen.heads,
        bodies: seen.bodies,
        open: () => seen.open + connection.queued + connection.unread,
        close: stop,
      };
    },
  };
}

interface Seen {
  readonly counts: Map<string, number>;
  readonly heads: string[];
  readonly bodies: string[];
  open: number;
}

function serverOf(
  kind: Kind,
  queueing: boolean,
  seen: Seen,
  sessions: Set<ServerHttp2Session>,
): Http2Server | Server {
  /** `stream`: what closes when the exchange has ended. */
  const count = (
    path: string,
    headers: IncomingHttpHeaders,
    request: Readable,
    stream: EventEmitter,
  ): string => {
    const behaviour = String(headers[PLAY] ?? path.slice(1));
    seen.counts.set(behaviour, (seen.counts.get(behaviour) ?? 0) + 1);
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${String(value)}`);
    seen.heads.push(lines.join("\n"));
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => chunks.length > 0 && seen.bodies.push(String(Buffer.concat(chunks))));
    seen.open++;
    stream.once("close", () => seen.open--);
    return behaviour;
  };
  const settings = queueing ? { maxConcurrentStreams: 1 } : {};
  if (kind === "tls, HTTP/1.1 only") {
    return createH1(pair, (request, response) => {
      const behaviour = count(request.url!, request.headers, request, response);
      if (behaviour === "answer") response.end("whole");
      else if (behaviour === "break") request.socket.destroy();
      else if (behaviour === "stall-in-head") request.socket.write("HTTP/1.1 200 OK\r\ncontent-le");
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
    const behaviour = count(headers[":path"]!, headers, stream, stream);
    if (behaviour === "answer") {
      stream.respond({ ":status": 200 });
      stream.end("whole");
    } else if (behaviour === "break") stream.session?.destroy();
    else if (behaviour === "stall-in-head") stream.additionalHeaders({ ":status": 103 });
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
