/**
 * Layers of the application in a gRPC server: what they see, how they answer, that they hold a handler
 * back, and what they hear at the end. On servers that are made and servers that are given.
 */
import { status as Status } from "@grpc/grpc-js";
import { context } from "@inmesh/core";
import {
  createMesh,
  meshGrpcServer,
  refusal,
  type ServerEnd,
  type ServerLayer,
  type ServerRequest,
} from "@inmesh/grpc";
import { describe, expect, it, onTestFinished } from "vitest";
import { counted } from "./support/bench.ts";
import { OrdersServer, type Order, type OrdersHandlers } from "./support/orders.ts";
import { ask, bareClient, served, type Served } from "./support/served.ts";
import { until } from "./support/wire.ts";

const TOO_FAST = refusal({
  code: "resource_exhausted",
  reason: "too_fast",
  retryAfterMs: 1_500,
  headers: { "RateLimit-Limit": "10" },
});

type Play = (
  handlers: Partial<OrdersHandlers>,
  options: Parameters<typeof served>[1],
) => Promise<Served>;

/** A server that meshGrpcServer makes. */
const made: Play = async (handlers, options) => {
  const server = meshGrpcServer({ limits: { maxLoopDelayMs: Infinity }, ...options });
  const orders = new OrdersServer("a", handlers, server.server);
  await orders.listen();
  const client = bareClient(orders.address);
  const close = async (): Promise<void> => {
    client.close();
    await server.close(0);
  };
  onTestFinished(close);
  return { orders, server, client, close };
};

const PLAYS: readonly (readonly [string, Play])[] = [
  ["made", made],
  ["given", served],
];

describe.each(PLAYS)("a server that is %s", (_name, play) => {
  it("a layer sees the call, and its handler serves it", async () => {
    let seen: Partial<ServerRequest> = {};
    const layer: ServerLayer = (inner) => (request) => {
      const { service, protocol, route, method, path, query, deadlineAt, peer } = request;
      seen = { service, protocol, route, method, path, query, deadlineAt, peer };
      expect(request.header("X-Shop")).toBe("one");
      expect(request.header("x-mesh-client-id")).toBeUndefined();
      return inner(request);
    };
    const { client } = await play({}, { name: "orders", serverLayers: [layer] });
    const said = { "x-shop": "one", "x-mesh-client-id": "root" };
    const { error } = await ask(client, said, { deadline: Date.now() + 5_000 });
    expect(error).toBeNull();
    expect(seen).toMatchObject({
      service: "orders",
      protocol: "grpc",
      route: "/shop.Orders/Get",
      method: "POST",
      path: "/shop.Orders/Get",
      query: "",
    });
    expect(seen.deadlineAt).toBeLessThan(performance.now() + 5_000);
    expect(seen.peer!.address).toMatch(/127\.0\.0\.1$/);
    expect(seen.peer!.certificate).toBeUndefined();
  });

  it("a layer refuses at once: status, reason, metadata and pushback follow from the refusal", async () => {
    let handled = 0;
    const { client, server } = await play(
      { get: () => void handled++ },
      { posture: "mesh", serverLayers: [() => () => TOO_FAST] },
    );
    const { error } = await ask(client);
    expect([error!.code, error!.details]).toEqual([Status.RESOURCE_EXHAUSTED, "too_fast"]);
    expect(error!.metadata.getMap()).toMatchObject({
      "grpc-retry-pushback-ms": "1500",
      "ratelimit-limit": "10",
      "x-mesh-error": "too_fast",
    });
    expect(error!.metadata.get("x-mesh-nack")).toEqual([]);
    const { callsInFlight, refused } = server.snapshot();
    expect([handled, callsInFlight, refused]).toEqual([0, 0, { too_fast: 1 }]);
  });

  it("a layer that waits holds the handler back, and both are in the call's context", async () => {
    const seen: unknown[] = [];
    const layer: ServerLayer = (inner) => async (request) => {
      seen.push(context.getStore());
      await new Promise((resolve) => setTimeout(resolve, 30));
      seen.push(context.getStore());
      return request.header("x-no") === undefined ? inner(request) : TOO_FAST;
    };
    const { client, server } = await play(
      {
        get: (call, done) => {
          seen.push(context.getStore());
          done(null, { id: call.request.id! });
        },
      },
      { serverLayers: [layer] },
    );
    expect((await ask(client, {}, {}, { id: "late" })).order?.id).toBe("late");
    expect([seen.length, new Set(seen).size]).toEqual([3, 1]);
    expect(seen[0]).toBeDefined();
    expect((await ask(client, { "x-no": "1" })).error!.code).toBe(Status.RESOURCE_EXHAUSTED);
    expect(server.snapshot().callsInFlight).toBe(0);
  });

  it("streams pass a layer that waits: nothing of them is lost", async () => {
    const layer: ServerLayer = (inner) => async (request) => {
      await new Promise((resolve) => setTimeout(resolve, 30));
      return inner(request);
    };
    const { client } = await play(
      {
        chat: (call) => {
          call.on("data", (order: Order) => call.write(order));
          call.on("end", () => call.end());
        },
      },
      { serverLayers: [layer] },
    );
    const stream = client.chat();
    const got: unknown[] = [];
    stream.on("data", (order: Order) => got.push(order.id));
    for (let i = 0; i < 5; i++) stream.write({ id: `${i}` });
    stream.end();
    await new Promise<void>((resolve, reject) => {
      stream.on("end", resolve);
      stream.on("error", reject);
    });
    expect(got).toEqual(["0", "1", "2", "3", "4"]);
  });

  it("each call is counted once, as it ended, and its end is reported", async () => {
    const mesh = createMesh({ env: {} });
    const ends: ServerEnd[] = [];
    const layer: ServerLayer = (inner) => (request) => {
      request.onEnd((end) => void ends.push(end));
      if (request.header("x-no") !== undefined) return TOO_FAST;
      if (request.header("x-oops") !== undefined) throw new Error("oops");
      return inner(request);
    };
    let active = 0;
    const { client, server } = await play(
      {
        get: (call, done) => {
          active = counted(mesh, "inmesh.call.active", { direction: "inbound", service: "orders" });
          if (call.request.id === "slow") return;
          if (call.request.id !== "missing") return done(null, {});
          done({ name: "", message: "", code: Status.NOT_FOUND, details: "" });
        },
      },
      { mesh, name: "orders", serverLayers: [layer] },
    );
    await ask(client);
    await ask(client, {}, {}, { id: "missing" });
    await ask(client, { "x-no": "1" });
    expect((await ask(client, { "x-oops": "1" })).error!.code).toBe(Status.INTERNAL);
    await ask(client, {}, {}, { id: "slow" }, (call) => {
      void until(() => server.snapshot().callsInFlight === 1).then(() => call.cancel());
    });
    await until(() => ends.length === 5);
    const count = (more: Record<string, string>): number =>
      counted(mesh, "inmesh.calls", { service: "orders", direction: "inbound", ...more });
    expect(active).toBe(1);
    expect(ends.map(({ outcome, status, reason }) => [outcome, status, reason])).toEqual([
      ["success", Status.OK, undefined],
      ["success", Status.NOT_FOUND, undefined],
      ["overloaded", Status.RESOURCE_EXHAUSTED, "too_fast"],
      ["failure", Status.INTERNAL, "layer_failed"],
      ["abandoned", Status.CANCELLED, undefined],
    ]);
    expect(count({ outcome: "overloaded", reason: "too_fast" })).toBe(1);
    expect(count({ outcome: "failure", reason: "layer_failed" })).toBe(1);
    expect(count({ outcome: "abandoned" })).toBe(1);
    expect(count({})).toBe(5);
    await mesh.close(0);
  });

  it("a client that leaves while a layer waits: the handler is not begun, and the end is reported", async () => {
    const ends: ServerEnd[] = [];
    let decide: (() => void) | undefined;
    let handled = 0;
    const layer: ServerLayer = (inner) => async (request) => {
      request.onEnd((end) => void ends.push(end));
      await new Promise<void>((resolve) => (decide = resolve));
      return inner(request);
    };
    const { client, server } = await play({ get: () => void handled++ }, { serverLayers: [layer] });
    await ask(client, {}, {}, {}, (call) => {
      void until(() => decide !== undefined).then(() => call.cancel());
    });
    await until(() => server.snapshot().callsInFlight === 0);
    decide!();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(handled).toBe(0);
    expect(ends).toMatchObject([{ outcome: "abandoned", status: Status.CANCELLED }]);
  });
});

it("what is no layer, and limits that are wrong, are refused at start", () => {
  expect(() => meshGrpcServer({ serverLayers: ["x" as never] })).toThrow(/serverLayers\[0\]/);
  const limits = { maxInFligth: 1, maxHops: -1 } as never;
  expect(() => meshGrpcServer({ limits })).toThrow(/maxInFligth.*\n.*maxHops/s);
});
