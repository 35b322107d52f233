/** Work that goes on when the call that started it is over, at a gRPC server: R19. */
import { status as Status } from "@grpc/grpc-js";
import { context } from "@inmesh/core";
import { describe, expect, it, onTestFinished } from "vitest";
import { meshGrpc, meshGrpcServer, createMesh } from "@inmesh/grpc";
import { Orders, OrdersServer, type OrdersHandlers } from "./support/orders.ts";
import { ask as answerOf, bareClient } from "./support/served.ts";
import { sleep, until } from "./support/wire.ts";

async function addressOf(handlers: Partial<OrdersHandlers>): Promise<string> {
  const orders = new OrdersServer("a", handlers);
  const server = meshGrpcServer(orders.server, { posture: "mesh" });
  await orders.listen();
  onTestFinished(() => server.close(0));
  return orders.address;
}

async function backend(delayMs: number): Promise<{
  readonly ask: () => Promise<string>;
  readonly leftMs: number[];
}> {
  const leftMs: number[] = [];
  const address = await addressOf({
    get: (call, reply) => {
      leftMs.push(Number(call.getDeadline()) - Date.now());
      setTimeout(() => reply(null, call.request), delayMs);
    },
  });
  const mesh = createMesh({
    env: {},
    config: { services: { orders: { discovery: { static: [address] } } } },
  });
  onTestFinished(() => mesh.close(0));
  const client = new Orders(...meshGrpc("orders", { mesh }));
  const ask = (): Promise<string> =>
    new Promise((resolve) => {
      client.get({ id: "x" }, (error, order) => resolve(error?.details ?? order?.id ?? ""));
    });
  return { ask, leftMs };
}

describe("work that outlives its call", () => {
  it("R19 GS: work behind a reply begins in the turn of it, and outlives the caller's deadline", async () => {
    const { ask, leftMs } = await backend(1_200);
    const outcomes: string[] = [];
    const address = await addressOf({
      get: (call, reply) => {
        reply(null, call.request);
        void ask().then((outcome) => outcomes.push(outcome));
      },
    });
    const caller = bareClient(address);
    onTestFinished(() => caller.close());
    const { error } = await answerOf(caller, {}, { deadline: Date.now() + 1_000 });
    expect(error).toBeNull();
    await until(() => outcomes.length === 1);
    expect(outcomes).toEqual(["x"]);
    expect(leftMs[0]).toBeGreaterThan(10_000);
  });

  it("R19 GS: a caller that leaves cancels once what was done for it, and nothing after that", async () => {
    const { ask, leftMs } = await backend(50);
    const outcomes: string[] = [];
    let begun = false;
    const address = await addressOf({
      get: () => {
        begun = true;
        expect(context.getStore()?.over).toBe(false);
        void (async () => {
          for (let i = 0; i < 3; i++) outcomes.push(await ask());
        })();
      },
    });
    const caller = bareClient(address);
    onTestFinished(() => caller.close());
    const until5s = { deadline: Date.now() + 5_000 };
    const answer = answerOf(caller, {}, until5s, {}, (call) => {
      void until(() => begun)
        .then(() => sleep(20))
        .then(() => call.cancel());
    });
    expect((await answer).error?.code).toBe(Status.CANCELLED);
    await until(() => outcomes.length === 3);
    expect(outcomes).toEqual(["orders: the caller of the request being served has gone", "x", "x"]);
    expect(leftMs[0]).toBeLessThan(5_000);
    expect(leftMs.at(-1)).toBeGreaterThan(10_000);
  });
});
