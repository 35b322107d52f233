/** R38: statuses, numbers of attempts and callbacks are what they are with grpc-js alone. */
import { Metadata, Server, ServerCredentials, status as Status } from "@grpc/grpc-js";
import { createMesh, meshGrpc, meshGrpcServer } from "@inmesh/grpc";
import type { Posture } from "@inmesh/core/spi";
import { describe, expect, it, onTestFinished } from "vitest";
import { get, open } from "./support/bench.ts";
import { Orders, type OrdersHandlers } from "./support/orders.ts";
import { ask, bareClient, served } from "./support/served.ts";
import { failed } from "./support/wire.ts";

const ATTEMPTS = "grpc-previous-rpc-attempts";
const VOUCHED = {
  retry: { attempts: 3 },
  routes: [{ name: "vouched", idempotent: true }],
  breaker: { consecutiveFailures: 0, successRatio: 0 },
  retryBudget: { minPerSecond: 100 },
} as const;

describe("R38: status codes", () => {
  const answering = (code: number): Partial<OrdersHandlers> => ({
    get: (_call, done) => done({ code, details: "own" }),
  });

  it.for([17, 42, 999, -1])("R38 GC, R38 GS: %i arrives as it does without us", async (code) => {
    const { client, orders, server } = await served(answering(code));
    const bare = (await ask(client)).error!;
    expect(bare.code).toBe(code);
    const mesh = createMesh({
      env: {},
      config: { services: { orders: { discovery: { static: [orders.address] } } } },
    });
    const ours = new Orders(...meshGrpc("orders", { mesh }));
    onTestFinished(async () => {
      ours.close();
      await mesh.close(0);
    });
    for (let i = 0; i < 3; i++) {
      const error = await failed(get(ours, {}));
      expect([error.code, error.details, error.message]).toEqual([code, "own", bare.message]);
    }
    expect(server.snapshot().callsInFlight).toBe(0);
  });

  it("R38 GC: classify is asked about such a code, and its number is what it gets", async () => {
    const asked: number[] = [];
    const bench = await open(answering(42), {}, { classify: (code) => void asked.push(code) });
    onTestFinished(() => bench.close());
    expect((await failed(get(bench.client, {}))).code).toBe(42);
    expect(asked).toEqual([42]);
  });
});

describe("R38: numbers of attempts", () => {
  const seenBy = async (posture: Posture, said: Record<string, string>): Promise<unknown[]> => {
    const seen: unknown[] = [];
    const { client } = await served(
      {
        get: ({ metadata }, done) => {
          seen.push(...metadata.get(ATTEMPTS));
          done(null, {});
        },
      },
      { posture },
    );
    expect((await ask(client, said)).error).toBeNull();
    return seen;
  };

  it("R38 GS: handlers see them from the mesh, and from no client that could make them up", async () => {
    expect(await seenBy("mesh", { [ATTEMPTS]: "2" })).toEqual(["2"]);
    expect(await seenBy("edge", { [ATTEMPTS]: "2" })).toEqual([]);
    expect(await seenBy("local", { [ATTEMPTS]: "2" })).toEqual([]);
    for (const text of ["-1", "1e3", "many", "12345"]) {
      expect(await seenBy("mesh", { [ATTEMPTS]: text })).toEqual([]);
    }
  });

  it("R38 GC, R38 GS: of a call that is tried again, handler and caller see how often", async () => {
    const seen: unknown[] = [];
    const { orders } = await served(
      {
        get: ({ metadata }, done) => {
          seen.push(metadata.get(ATTEMPTS));
          if (seen.length < 3) done({ code: Status.UNAVAILABLE, details: "again" });
          else done(null, { id: "x" });
        },
      },
      { posture: "mesh" },
    );
    const mesh = createMesh({
      env: {},
      config: {
        services: { orders: { discovery: { static: [orders.address] }, ...VOUCHED } },
      },
    });
    const client = new Orders(...meshGrpc("orders", { mesh }));
    onTestFinished(async () => {
      client.close();
      await mesh.close(0);
    });
    const heads: unknown[] = [];
    await get(client, {}, {}, new Metadata(), (call) =>
      call.on("metadata", (head: Metadata) => heads.push(head.get(ATTEMPTS))),
    );
    expect(seen).toEqual([[], ["1"], ["2"]]);
    expect(heads).toEqual([["2"]]);
    await get(client, {}, {}, new Metadata(), (call) =>
      call.on("metadata", (head: Metadata) => heads.push(head.get(ATTEMPTS))),
    );
    expect(heads[1]).toEqual([]);
  });
});

describe("R38: bindAsync", () => {
  const credentials = ServerCredentials.createInsecure();
  const servers = (): Server[] => [
    new Server(),
    meshGrpcServer({}).server,
    meshGrpcServer(new Server()).server,
  ];

  it("R38 GS: wrong arguments are refused as by grpc-js, and a server can be bound after that", async () => {
    for (const server of servers()) {
      const bind = server.bindAsync as (...given: unknown[]) => void;
      expect(() => bind.call(server, "127.0.0.1:0", credentials)).toThrow(
        "callback must be a function",
      );
      expect(() => bind.call(server, "127.0.0.1:0", credentials, {})).toThrow(TypeError);
      expect(() => bind.call(server, 0, credentials, () => {})).toThrow("port must be a string");
      expect(() => bind.call(server, "127.0.0.1:0", null, () => {})).toThrow(
        "creds must be a ServerCredentials object",
      );
      const port = await new Promise<number>((resolve, reject) => {
        server.bindAsync("127.0.0.1:0", credentials, (error, bound) =>
          error === null ? resolve(bound) : reject(error),
        );
      });
      const client = bareClient(`127.0.0.1:${port}`);
      expect((await ask(client)).error!.code).toBe(Status.UNIMPLEMENTED);
      client.close();
      server.forceShutdown();
    }
  });
});
