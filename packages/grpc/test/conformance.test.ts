/** gRPC keeps the Transport contract. */
import { Metadata } from "@grpc/grpc-js";
import { DEFAULT_POLICIES, NodeRuntime, type ServiceConfig } from "@inmesh/core/spi";
import {
  countResources,
  expectBaseline,
  transportConformance,
  type Behaviour,
  type ConformanceAdapter,
} from "@inmesh/core/testing";
import { afterAll, beforeAll, describe, it } from "vitest";
import { GrpcConnection } from "../src/client/connection.ts";
import { ReplayBuffer } from "../src/client/replay-buffer.ts";
import type { GrpcReply } from "../src/client/reply.ts";
import { GrpcRequest } from "../src/client/request.ts";
import { answer, framed, HEAD, ScriptedServer } from "./support/scripted-server.ts";

const service: ServiceConfig = {
  ...DEFAULT_POLICIES,
  name: "svc",
  authority: "svc",
  scheme: "http",
  discovery: { kind: "static", endpoints: [] },
  routes: [],
};

const adapter: ConformanceAdapter<GrpcRequest, GrpcReply> = {
  // Messages are kept as bytes: every request can be sent again until its buffer is full.
  streams: false,
  // grpc-js sends as many streams as it has, see lane.ts.
  queues: false,
  async open() {
    const server = await ScriptedServer.start((stream, path) => {
      if (path === "/answer") answer(stream, Buffer.from("whole"));
      else if (path === "/break") stream.session!.socket.resetAndDestroy();
      else if (path !== "/silence") {
        stream.respond(HEAD);
        stream.write(framed(Buffer.from("part")));
        const { socket } = stream.session!;
        if (path === "/break-in-body") setTimeout(() => socket.resetAndDestroy(), 20);
      }
    });
    const connection = new GrpcConnection(
      { host: "127.0.0.1", port: server.port },
      service,
      new NodeRuntime(),
    );
    let asked: GrpcRequest | undefined;
    const readOn = (): void => asked!.exchange!.read();
    return {
      connection,
      request(behaviour: Behaviour) {
        if (behaviour === "refuse") void server.close();
        const request = new GrpcRequest(`/${behaviour}`, undefined, undefined, new ReplayBuffer());
        request.begin(new Metadata(), undefined, false);
        request.write({}, Buffer.from("ask"));
        request.halfClosed = true;
        asked = request;
        return request;
      },
      read: (reply) =>
        new Promise<void>((resolve, reject) => {
          reply.deliver({
            onReceiveMetadata: readOn,
            onReceiveMessage: readOn,
            onReceiveStatus: ({ code, details }) =>
              code === 0 ? resolve() : reject(new Error(details)),
          });
        }),
      headerOf: (reply, name) =>
        new Promise((resolve) => {
          reply.deliver({
            onReceiveMetadata: (head) => resolve(String(head.get(name)[0])),
            onReceiveMessage: readOn,
            onReceiveStatus: () => {},
          });
          readOn();
        }),
      seen: (behaviour) => server.seen.get(`/${behaviour}`) ?? 0,
      close: () => server.close(),
    };
  },
};

let baseline = countResources();
beforeAll(() => {
  baseline = countResources();
});
afterAll(() => expectBaseline(baseline, 3_000));

describe("transport conformance: gRPC", () => {
  for (const { title, run } of transportConformance(adapter)) it(title, run);
});
