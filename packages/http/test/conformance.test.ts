/** HTTP keeps the Transport contract. */
import { Readable } from "node:stream";
import { NodeRuntime, type ServiceConfig } from "@inmesh/core/spi";
import { DEFAULT_POLICIES } from "@inmesh/core/spi";
import {
  countResources,
  expectBaseline,
  FaultPeer,
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
import { answer } from "./support/bench.ts";

const PART = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\npart";

const adapter: ConformanceAdapter<HttpRequest, HttpResult> = {
  streams: true,
  queues: true,
  bodies: true,
  async open(queueing) {
    const seen = new Map<string, number>();
    const heads: string[] = [];
    const bodies: string[] = [];
    let open = 0;
    const peer = await FaultPeer.start(async (connection) => {
      for (;;) {
        const { head, body } = await connection.readRequest();
        const play = new RegExp(`^${PLAY}: (.*)\r$`, "im").exec(head)?.[1];
        const behaviour = play ?? head.split(" ")[1]!.slice(1);
        heads.push(head.toLowerCase());
        if (body.length > 0) bodies.push(body.toString());
        seen.set(behaviour, (seen.get(behaviour) ?? 0) + 1);
        if (behaviour === "answer") {
          await connection.write(answer("whole"));
          continue;
        }
        if (behaviour === "break") return connection.rst();
        open++;
        connection.socket.once("close", () => open--);
        if (behaviour === "stall-in-head") await connection.write(PART.slice(0, 25));
        else if (behaviour !== "silence") await connection.write(PART);
        if (behaviour !== "break-in-body") return connection.hold();
        await connection.pause(20);
        return connection.rst();
      }
    });
    const service: ServiceConfig = {
      ...DEFAULT_POLICIES,
      name: "svc",
      authority: "svc",
      scheme: "http",
      discovery: { kind: "static", endpoints: [] },
      routes: [],
      limits: { ...DEFAULT_POLICIES.limits, maxConnectionsPerEndpoint: queueing ? 1 : 8 },
    };
    const endpoint = { host: "127.0.0.1", port: peer.port };
    const connection = new HttpConnection(endpoint, service, new NodeRuntime());
    return {
      connection,
      request(behaviour: Behaviour, streamed = false) {
        // Nothing is connected yet, so a peer that goes away now refuses.
        if (behaviour === "refuse") void peer.close();
        const body = streamed ? Readable.from([Buffer.from("once")]) : null;
        return new HttpRequest(`/${behaviour}`, streamed ? "POST" : "GET", undefined, body);
      },
      requestWith: (text) => new HttpRequest("/", "PUT", undefined, text),
      read: (reply) => (reply as HttpReply).bytes(),
      headerOf: async (reply, name) => (reply as HttpReply).headers.get(name),
      seen: (behaviour) => seen.get(behaviour) ?? 0,
      heads,
      bodies,
      open: () => open + connection.queued + connection.unread,
      close: () => peer.close(),
    };
  },
};

let baseline = countResources();
beforeAll(() => {
  baseline = countResources();
});
afterAll(() => expectBaseline(baseline));

describe("transport conformance: HTTP", () => {
  for (const { title, run } of transportConformance(adapter)) it(title, run);
});
