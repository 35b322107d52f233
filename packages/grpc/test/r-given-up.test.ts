/**
 * Rows R9 to R11 over gRPC: calls that are given up beside calls that go on, connections on which the
 * server refuses every stream, and the memory that Node says cancelled replies use.
 */
import type { ClientUnaryCall } from "@grpc/grpc-js";
import type { ServiceInput } from "@inmesh/core";
import { expect, it, onTestFinished } from "vitest";
import { data, h2Peer, head, reset, RST_STREAM } from "../../http/test/support/h2-peer.ts";
import { get } from "./support/bench.ts";
import { answerAll, ok, REPLY_HEAD, X_ORDER } from "./support/frames.ts";
import { callHead, message, RawGrpcClient } from "./support/raw-grpc-client.ts";
import { ask, bareClient, served } from "./support/served.ts";
import { clientOf, failed, serverOf, sleep, until } from "./support/wire.ts";

const REFUSED_STREAM = 7;
const CANCEL = 8;
const ENHANCE_YOUR_CALM = 11;
/** `id = "now"` of an Order. */
const NOW = message(Buffer.from("\n\u0003now"));

/** Nothing but the connection decides what becomes of a call. */
const PLAIN: ServiceInput = {
  breaker: { consecutiveFailures: 0, successRatio: 0 },
  retryBudget: { minPerSecond: 100 },
};

it("R9 GC: a connection is left after 100 calls that were given up, and ends behind its last call", async () => {
  let finish: (() => Promise<void>) | undefined;
  let resets = (): number => 0;
  const peer = await h2Peer(async (connection) => {
    await connection.open();
    if (connection.number > 1) return;
    resets = () => connection.frames.filter(({ type }) => type === RST_STREAM).length;
    const id = await connection.request();
    // Answered in part: the connection is not taken for a dead one.
    await connection.write(head(id, REPLY_HEAD), data(id, X_ORDER));
    finish = () => connection.write(data(id, X_ORDER), head(id, { "grpc-status": "0" }, true));
  });
  const { client } = clientOf([peer.address], PLAIN);
  const stream = client.list({});
  let orders = 0;
  stream.on("data", () => orders++);
  const status = new Promise((resolve, reject) => stream.on("end", resolve).on("error", reject));
  await until(() => orders === 1);
  const giveUp = (call: ClientUnaryCall): void => void setTimeout(() => call.cancel(), 4);
  for (let i = 0; i < 300 && peer.connections === 1; i++) {
    await failed(get(client, {}, {}, undefined, giveUp));
  }
  for (let i = 0; i < 20; i++) await failed(get(client, {}, {}, undefined, giveUp));
  expect(peer.connections).toBe(2);
  await until(() => resets() === 100);
  await finish!();
  await status;
  expect(orders).toBe(2);
  await until(() => peer.open === 1); // the first has ended
});

it.each(["grpc-js", "mesh"])(
  "R9 GC: calls given up cost their neighbours nothing, however many: a server of %s",
  async (kind) => {
    const handlers = {
      get: (
        { request }: { request: { id?: string } },
        done: (error: null, reply: object) => void,
      ) => void setTimeout(done, request.id === "slow" ? 200 : 10, null, {}),
    } as Parameters<typeof serverOf>[0];
    const address =
      kind === "mesh"
        ? (await served(handlers)).orders.address
        : (await serverOf(handlers)).address;
    const { client } = clientOf([address], { ...PLAIN, retry: { attempts: 1 } });
    const calls = { givenUp: 0, good: 0 };
    const giveUp = async (): Promise<void> => {
      while (calls.givenUp < 2_000) {
        calls.givenUp++;
        const cancel = (call: ClientUnaryCall): void => void setTimeout(() => call.cancel(), 15);
        await get(client, { id: "slow" }, {}, undefined, cancel).catch(() => {});
      }
    };
    const go = async (): Promise<void> => {
      for (; calls.givenUp < 2_000; calls.good++) await get(client, {});
    };
    await Promise.all(Array.from({ length: 30 }, (_, i) => (i % 3 === 0 ? go() : giveUp())));
    expect(calls.good).toBeGreaterThan(100);
  },
);

it("R9 GS: resets of deadlines that have passed are no misuse, from either side", async () => {
  const one = await served(
    {
      get: ({ request }, done) => {
        if (request.id === "now") done(null, {});
      },
    },
    { limits: { maxStreamResets: 20 } },
  );
  const client = await RawGrpcClient.open(one.orders.port);
  onTestFinished(() => client[Symbol.dispose]());
  let id = 1;
  for (let round = 0; round < 3; round++) {
    const ids = Array.from({ length: 50 }, () => (id += 2));
    for (const each of ids) {
      client.send(callHead(each, { "grpc-timeout": "60m" }), data(each, message(), true));
    }
    await until(() => one.server.snapshot().callsInFlight > 0);
    await sleep(52); // the client's clock was started before
    client.send(...ids.map((each) => reset(each, CANCEL)));
    await until(() => one.server.snapshot().callsInFlight === 0);
  }
  client.send(callHead(id + 2), data(id + 2, NOW, true));
  await client.replied(id + 2);
  expect(one.server.snapshot().refused).toEqual({});
});

it.each([
  ["REFUSED_STREAM", REFUSED_STREAM, 0],
  ["ENHANCE_YOUR_CALM", ENHANCE_YOUR_CALM, 2],
])("R10 GC: a connection whose streams all end with %s is replaced", async (_, code, costs) => {
  const peer = await h2Peer(async (connection) => {
    await connection.open();
    if (connection.number > 1) return answerAll(connection);
    for (;;) await connection.write(reset(await connection.request(), code));
  });
  const { client } = clientOf([peer.address], PLAIN);
  let lost = 0;
  for (let i = 0; i < 20; i++) await get(client, {}).catch(() => lost++);
  expect(lost).toBe(costs);
  expect(peer.connections).toBe(2);
});

it("R10 GC: a refusal now and then is no reason to leave", async () => {
  const peer = await h2Peer(async (connection) => {
    await connection.open();
    for (let n = 1; ; n++) {
      const id = await connection.request();
      await connection.write(n % 2 === 0 ? ok(id) : reset(id, REFUSED_STREAM));
    }
  });
  const { client } = clientOf([peer.address], PLAIN);
  for (let i = 0; i < 20; i++) expect((await get(client, {})).id).toBe("x");
  expect(peer.connections).toBe(1);
});

it("R10 GC: a server that refuses everything on every connection is dialled with pauses", async () => {
  const peer = await h2Peer(async (connection) => {
    await connection.open();
    for (;;) await connection.write(reset(await connection.request(), REFUSED_STREAM));
  });
  const { client } = clientOf([peer.address], PLAIN);
  const startedAt = performance.now();
  while (performance.now() - startedAt < 1_000) {
    await failed(get(client, {}, { deadline: Date.now() + 300 }));
  }
  // At once, again at once, then at most ten a second.
  const seconds = Math.ceil((performance.now() - startedAt) / 1_000);
  expect(peer.connections).toBeLessThanOrEqual(2 + 10 * seconds);
});

it("R11 GS: cancelled replies use up nothing of their connection", async () => {
  const one = await served({
    get: (_, done) => done(null, {}),
    list: (call) => {
      for (let i = 0; i < 20; i++) call.write({ id: "x".repeat(1_000_000) });
      call.end();
    },
  });
  const client = bareClient(one.orders.address);
  for (let i = 0; i < 30; i++) {
    const stream = client.list({});
    const over = new Promise<void>((resolve) => stream.on("error", () => resolve()));
    stream.once("data", () => stream.cancel());
    await over;
    expect((await ask(client)).error).toBeNull();
  }
  client.close();
  expect(one.server.snapshot().sessions).toBe(1);
});
