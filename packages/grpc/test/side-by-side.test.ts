/**
 * Two attempts of a gRPC call at once, on real sockets: each server gets all messages, the client the reply of one,
 * and nothing is held afterwards. The layer that starts the second is one for tests.
 */
import { status as Status, type ServiceError } from "@grpc/grpc-js";
import type { EndedAttempt, EndedCall, ServiceInput } from "@inmesh/core";
import { countResources, expectBaseline, sideBySide } from "@inmesh/core/testing";
import { createMesh, meshGrpc } from "@inmesh/grpc";
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { get } from "./support/bench.ts";
import { Orders, OrdersServer, type Order, type OrdersHandlers } from "./support/orders.ts";

interface Arrived {
  readonly attempt: number;
  readonly texts: string[];
  answered: boolean;
  /** Its client has gone before its answer. grpc-js emits `cancelled` for every call. */
  cancelled: boolean;
}

/** Two servers. Attempts with a number in `silent` get no answer. */
async function setUp(silent: readonly number[], input: ServiceInput = {}) {
  const arrived: Arrived[] = [];
  const note = (call: {
    metadata: { get(name: string): unknown[] };
    on(event: "cancelled", run: () => void): unknown;
  }): Arrived => {
    const before = Number(call.metadata.get("grpc-previous-rpc-attempts")[0] ?? 0);
    const one: Arrived = { attempt: before + 1, texts: [], answered: false, cancelled: false };
    arrived.push(one);
    call.on("cancelled", () => (one.cancelled = !one.answered));
    return one;
  };
  const handlers: Partial<OrdersHandlers> = {
    get(call, callback) {
      const one = note(call);
      one.texts.push(call.request.id ?? "");
      one.answered = !silent.includes(one.attempt);
      if (one.answered) callback(null, { id: `whole ${one.attempt}` });
    },
    add(call, callback) {
      const one = note(call);
      call.on("data", (order: Order) => one.texts.push(order.id ?? ""));
      call.on("error", () => {});
      call.on("end", () => {
        one.answered = !silent.includes(one.attempt);
        if (one.answered) callback(null, { id: one.texts.join(" ") });
      });
    },
    list(call) {
      const one = note(call);
      if (silent.includes(one.attempt)) return;
      for (let i = 0; i < 3; i++) call.write({ id: `${one.attempt}.${i}` });
      call.end();
    },
  };
  const servers = [
    await new OrdersServer("a", handlers).listen(),
    await new OrdersServer("b", handlers).listen(),
  ];
  const mesh = createMesh({
    env: {},
    config: {
      services: {
        orders: {
          discovery: { static: servers.map(({ address }) => address) },
          routes: [{ name: "vouched", idempotent: true }],
          ...input,
        },
      },
    },
    attemptLayers: [
      sideBySide({ second: () => new Promise((resolve) => setTimeout(resolve, 60)) }) as never,
    ],
  });
  const client = new Orders(...meshGrpc("orders", { mesh }));
  onTestFinished(async () => {
    client.close();
    await mesh.close(0);
    for (const server of servers) server.stop();
  });
  const attempts: EndedAttempt[] = [];
  const calls: EndedCall[] = [];
  mesh.observe({
    attemptEnded: (attempt) => void attempts.push(attempt),
    callEnded: (call) => void calls.push(call),
  });
  const expectEnds = async (expected: readonly string[]): Promise<void> => {
    await expect.poll(() => attempts.length).toBe(expected.length);
    expect(attempts.map(({ number, outcome }) => `${number} ${outcome}`).toSorted()).toEqual(
      expected,
    );
    const service = mesh.snapshot().services[0]!;
    expect(service.endpoints.filter(({ inFlight }) => inFlight > 0)).toEqual([]);
    expect(service.endpoints.map(({ breaker }) => breaker.state)).toEqual(["closed", "closed"]);
    expect(service.callsInFlight).toBe(0);
    expect(calls).toHaveLength(1);
  };
  return { mesh, client, arrived, attempts, calls, expectEnds };
}

const failed = (sent: Promise<unknown>): Promise<ServiceError> =>
  sent.then(
    () => expect.unreachable("it failed"),
    (error: ServiceError) => error,
  );

let baseline = countResources();
beforeAll(() => {
  baseline = countResources();
});
afterAll(() => expectBaseline(baseline, 3_000));

it("a unary call has the reply of the one that answers first, and the other is cancelled", async () => {
  const { client, arrived, calls, attempts, expectEnds } = await setUp([1]);
  expect((await get(client, { id: "x" })).id).toBe("whole 2");
  await expectEnds(["1 abandoned", "2 success"]);
  expect(calls[0]).toMatchObject({ attempts: 2, status: Status.OK });
  expect(attempts.find(({ number }) => number === 1)!.error?.reason).toBe("hedge_lost");
  await expect.poll(() => arrived.map(({ cancelled }) => cancelled)).toEqual([true, false]);
  expect(arrived.map(({ attempt, texts }) => [attempt, texts])).toEqual([
    [1, ["x"]],
    [2, ["x"]],
  ]);
});

it("the deadline passes while both run: both endpoints held it, and the call has one status", async () => {
  const { client, calls, expectEnds } = await setUp([1, 2]);
  const sent = failed(get(client, { id: "x" }, { deadline: Date.now() + 400 }));
  expect((await sent).code).toBe(Status.DEADLINE_EXCEEDED);
  await expectEnds(["1 timeout", "2 timeout"]);
  expect(calls[0]!.status).toBe(Status.DEADLINE_EXCEEDED);
});

it("the caller cancels while both run: both servers learn of it", async () => {
  const { client, arrived, expectEnds } = await setUp([1, 2]);
  let cancel = (): void => {};
  const sent = failed(
    get(client, { id: "x" }, {}, undefined, (call) => (cancel = () => call.cancel())),
  );
  await expect.poll(() => arrived.length).toBe(2);
  cancel();
  expect((await sent).code).toBe(Status.CANCELLED);
  await expect.poll(() => arrived.map(({ cancelled }) => cancelled)).toEqual([true, true]);
  await expectEnds(["1 abandoned", "2 abandoned"]);
});

it("messages that a client streams go to both, those from before the second began as well", async () => {
  const { client, arrived, expectEnds } = await setUp([1]);
  const sum = await new Promise<Order>((resolve, reject) => {
    const call = client.add((error, reply) => (error === null ? resolve(reply!) : reject(error)));
    call.write({ id: "a" });
    call.write({ id: "b" });
    setTimeout(() => {
      call.write({ id: "c" });
      call.end({ id: "d" });
    }, 150);
  });
  expect(sum.id).toBe("a b c d");
  await expectEnds(["1 abandoned", "2 success"]);
  expect(arrived.map(({ attempt, texts }) => [attempt, texts])).toEqual([
    [1, ["a", "b", "c", "d"]],
    [2, ["a", "b", "c", "d"]],
  ]);
});

it("a client that streams more than is kept goes on with the attempt that is farthest", async () => {
  const { client, arrived, attempts, calls } = await setUp([]);
  const half = "x".repeat(500_000);
  const sum = await new Promise<Order>((resolve, reject) => {
    const call = client.add((error, reply) => (error === null ? resolve(reply!) : reject(error)));
    call.write({ id: "a" });
    setTimeout(() => call.write({ id: half }), 150);
    setTimeout(() => call.write({ id: half }), 200);
    // The 1 MiB that a call may keep is full: from here on there is one attempt.
    setTimeout(() => call.write({ id: half }), 250);
    setTimeout(() => call.end({ id: "z" }), 300);
  });
  expect(sum.id).toBe(["a", half, half, half, "z"].join(" "));
  await expect.poll(() => calls.length).toBe(1);
  expect(
    ends(attempts)
      .map((one) => one.split(" ")[1])
      .toSorted(),
  ).toEqual(["abandoned", "success"]);
  expect(attempts.find(({ outcome }) => outcome === "abandoned")!.error?.reason).toBe("hedge_lost");
  expect(arrived.filter(({ texts }) => texts.includes("z"))).toHaveLength(1);
});

it("a client that has streamed more than is kept gets no second attempt", async () => {
  const { client, calls, expectEnds } = await setUp([]);
  const sum = await new Promise<Order>((resolve, reject) => {
    const call = client.add((error, reply) => (error === null ? resolve(reply!) : reject(error)));
    call.write({ id: "x".repeat(1_100_000) });
    setTimeout(() => call.end({ id: "z" }), 150);
  });
  expect(sum.id).toHaveLength(1_100_002);
  await expectEnds(["1 success"]);
  expect(calls[0]!.notRetried).toBe("not_replayable");
});

it("a stream of replies is the one's whose head came first, without a message of the other", async () => {
  const { client, expectEnds } = await setUp([1]);
  const ids: (string | undefined)[] = [];
  for await (const order of client.list({ id: "x" })) ids.push((order as Order).id);
  expect(ids).toEqual(["2.0", "2.1", "2.2"]);
  await expectEnds(["1 abandoned", "2 success"]);
});

function ends(attempts: readonly EndedAttempt[]): string[] {
  return attempts.map(({ number, outcome }) => `${number} ${outcome}`).toSorted();
}
