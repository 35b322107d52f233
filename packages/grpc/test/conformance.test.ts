/** gRPC keeps the Transport contract. */
import { Metadata } from "@grpc/grpc-js";
import { DEFAULT_POLICIES, NodeRuntime, ReplayMemory, type ServiceConfig } from "@inmesh/core/spi";
import {
  countResources,
  expectBaseline,
  PLAY,
  transportConformance,
  type Behaviour,
  type ConformanceAdapter,
} from "@inmesh/core/testing";
import { afterAll, beforeAll, describe, it } from "vitest";
import { GrpcConnection } from "../src/client/connection.ts";
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

/** The request of the check that runs: a reply is read by asking its request. */
let asked: GrpcRequest | undefined;
const readOn = (): void => asked!.read();

const adapter: ConformanceAdapter<GrpcRequest, GrpcReply> = {
  // Messages are kept as bytes: every request can be sent again until its buffer is full.
  streams: false,
  // grpc-js sends as many streams as it has, see lane.ts.
  queues: false,
  bodies: true,
  async open() {
    const heads: string[] = [];
    const bodies: string[] = [];
    const seen = new Map<string, number>();
    let open = 0;
    const server = await ScriptedServer.start((stream, target, _, headers) => {
      const path = headers[PLAY] === undefined ? target : `/${String(headers[PLAY])}`;
      seen.set(path, (seen.get(path) ?? 0) + 1);
      const lines = Object.entries(headers).map(([name, value]) => `${name}: ${String(value)}`);
      heads.push(lines.join("\n"));
      const chunks: Buffer[] = [];
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      // A message has five bytes before its text.
      stream.on("end", () => bodies.push(Buffer.concat(chunks).subarray(5).toString()));
      open++;
      stream.once("close", () => open--);
      if (path === "/answer") answer(stream, Buffer.from("whole"));
      else if (path === "/break") stream.session!.socket.resetAndDestroy();
      else if (path !== "/silence" && path !== "/stall-in-head") {
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
    const requestOf = (behaviour: string, text: string): GrpcRequest => {
      const request = new GrpcRequest(`/${behaviour}`, undefined, undefined, new ReplayMemory());
      request.begin(new Metadata(), undefined, false);
      request.write({}, Buffer.from(text));
      request.halfClosed = true;
      asked = request;
      return request;
    };
    return {
      connection,
      request(behaviour: Behaviour) {
        if (behaviour === "refuse") void server.close();
        return requestOf(behaviour, "ask");
      },
      requestWith: (text) => requestOf("", text),
      begun: (call) => void (call.request.call = call),
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
      seen: (behaviour) => seen.get(`/${behaviour}`) ?? 0,
      heads,
      bodies,
      open: () => open + connection.inFlight,
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
