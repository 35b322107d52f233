/** What a call keeps so that it can be sent again: within a bound, without a loss, and not for longer than needed. */
import { Metadata, status as Status, type ServiceError } from "@grpc/grpc-js";
import { expect, it } from "vitest";
import { counted } from "./support/bench.ts";
import type { Order, OrdersClient, OrdersHandlers } from "./support/orders.ts";
import { bench } from "./support/wire.ts";

const PAUSE_MS = 300;

const vouched = {
  routes: [{ name: "vouched", idempotent: true }],
  breaker: { consecutiveFailures: 0, successRatio: 0 },
  retryBudget: { minPerSecond: 100 },
} as const;

/** The first attempt fails with its first message, and asks for a pause; the others add up what they get. */
function flaky() {
  const bytes: number[] = [];
  const pause = new Metadata();
  pause.set("grpc-retry-pushback-ms", String(PAUSE_MS));
  const add: OrdersHandlers["add"] = (call, callback) => {
    const number = bytes.push(0) - 1;
    call.on("error", () => {});
    call.on("data", (order: Order) => {
      bytes[number]! += order.blob!.length;
      if (number > 0) return;
      callback({ code: Status.UNAVAILABLE, details: "once", metadata: pause });
    });
    call.on("end", () => {
      if (number > 0) callback(null, { count: bytes[number]! });
    });
  };
  return { bytes, add };
}

/** Sends one message, and `then` in the pause after the first attempt. */
function sendInPause(
  client: OrdersClient,
  first: number,
  then: readonly number[],
  paused: () => boolean,
): Promise<Order> {
  return new Promise<Order>((resolve, reject) => {
    const stream = client.add((error, order) => (error ? reject(error) : resolve(order!)));
    stream.on("error", () => {});
    stream.write({ blob: Buffer.alloc(first) });
    const timer = setInterval(() => {
      if (!paused()) return;
      clearInterval(timer);
      for (const bytes of then) stream.write({ blob: Buffer.alloc(bytes) });
      stream.end();
    }, 5);
  });
}

it("H18 GC: what is kept overflows in the pause before a retry: the retry sends everything, as the last", async () => {
  const { bytes, add } = flaky();
  const { client, mesh } = await bench({ add }, vouched);
  const paused = (): boolean => counted(mesh, "inmesh.retry.decisions", { decision: "sent" }) === 1;
  const reply = await sendInPause(client, 700_000, [700_000, 10], paused);
  expect(reply.count).toBe(1_400_010);
  expect(bytes).toEqual([700_000, 1_400_010]);
  expect(mesh.replayMemory.bytes).toBe(0);
});

it("H18 GC: nothing is kept where the mesh has no room left, and the call is sent once", async () => {
  const { bytes, add } = flaky();
  const { client, mesh } = await bench({ add }, vouched);
  const paused = (): boolean => bytes.length === 1;
  expect((await sendInPause(client, 10, [20], paused)).count).toBe(30);
  expect(mesh.replayMemory.bytes).toBe(0);
  bytes.length = 0;

  const others = mesh.replayMemory.maxBytes - 64;
  expect(mesh.replayMemory.take(others)).toBe(true);
  const error = await sendInPause(client, 10, [20], paused).catch((one: ServiceError) => one);
  expect(error).toMatchObject({ code: Status.UNAVAILABLE, details: "once" });
  expect(bytes).toHaveLength(1);
  expect(counted(mesh, "inmesh.retry.decisions", { decision: "not_replayable" })).toBe(1);
  expect(mesh.replayMemory.bytes).toBe(others);
});
