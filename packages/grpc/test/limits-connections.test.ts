/** What one connection may cost a gRPC server, at each limit, one above it, and far above it. */
import { status as Status } from "@grpc/grpc-js";
import { describe, expect, it, onTestFinished } from "vitest";
import { data, GOAWAY, HEADERS, reset } from "../../http/test/support/h2-peer.ts";
import { callHead, message, RawGrpcClient } from "./support/raw-grpc-client.ts";
import { ask, bareClient, served, type Served } from "./support/served.ts";
import { sleep, until } from "./support/wire.ts";

const CANCEL = 8;
const ENHANCE_YOUR_CALM = 11;
const SERVED = { refused: {}, callsInFlight: 0 };

async function rawTo({ orders }: Served): Promise<RawGrpcClient> {
  const client = await RawGrpcClient.open(orders.port);
  onTestFinished(() => client[Symbol.dispose]());
  return client;
}

/** A server that answers no `Get`, but one whose id is said. */
const hanging = (limits: object = {}): Promise<Served> =>
  served(
    {
      get: ({ request }, done) => {
        if (request.id === "now") done(null, {});
      },
      list: (call) => void call.write({ id: "first" }),
    },
    { limits },
  );
/** `id = "now"` of an Order. */
const NOW = message(Buffer.from("\n\u0003now"));

async function evicted(client: RawGrpcClient): Promise<void> {
  const goaway = await client.until(({ type }) => type === GOAWAY, "GOAWAY");
  expect(goaway.payload.readUInt32BE(4)).toBe(ENHANCE_YOUR_CALM);
  await client.end();
}

/** It answers, and has not been asked to leave. */
async function stays(client: RawGrpcClient, id: number): Promise<void> {
  client.send(callHead(id), data(id, NOW, true));
  await client.replied(id);
  expect(client.frames.some(({ type }) => type === GOAWAY)).toBe(false);
}

/** Nothing is left behind, and others are served. */
async function recovered({ server, orders }: Served): Promise<void> {
  await until(() => server.snapshot().sessions === 0);
  expect(server.snapshot().callsInFlight).toBe(0);
  const client = bareClient(orders.address);
  expect((await ask(client, {}, {}, { id: "now" })).error).toBeNull();
  client.close();
}

describe("metadata in progress", () => {
  const value = "1".repeat(5_000);
  const head = { a: value, b: value };
  const bytes = 2 * (1 + value.length + 32);

  it.each([
    [3, 3],
    [4, 3],
    [90, 3],
  ])("%i heads where 3 fit: %i served", async (sent, fit) => {
    const one = await hanging({ maxConnectionHeaderBytes: 3 * bytes });
    const client = await rawTo(one);
    for (let i = 0; i < sent; i++) {
      const id = 2 * i + 1;
      client.send(callHead(id, head), data(id, message(), true));
    }
    await until(() => one.orders.calls === fit);
    if (sent > fit) {
      await client.until(({ type }) => type === HEADERS, "HEADERS"); // the refusal: it is the only reply
      await evicted(client);
      expect(one.orders.calls).toBe(fit);
      // What came in one piece with the first that was too many is refused as well.
      expect(one.server.snapshot().refused["connection_headers"]).toBeGreaterThan(0);
      return recovered(one);
    }
    for (let i = 0; i < sent; i++) client.send(reset(2 * i + 1, CANCEL));
    await until(() => one.server.snapshot().callsInFlight === 0);
    // They are not counted any longer.
    client.send(callHead(101, head), data(101, NOW, true));
    await client.replied(101);
    await stays(client, 103);
    expect(one.server.snapshot()).toMatchObject(SERVED);
  });

  it("is refused with RESOURCE_EXHAUSTED, by a limit of each connection", async () => {
    const { client } = await served({}, { limits: { maxConnectionHeaderBytes: 200 } });
    const { error } = await ask(client, { long: "1".repeat(200) });
    expect(error?.code).toBe(Status.RESOURCE_EXHAUSTED);
    expect((await ask(client)).error).toBeNull(); // over another one
  });
});

describe("resets", () => {
  /** Calls one after the other; those that are not answered are reset. */
  async function calls(
    { server }: Served,
    client: RawGrpcClient,
    from: number,
    count: number,
    resets: (n: number) => boolean,
    more: Record<string, string> = {},
  ): Promise<void> {
    for (let n = from; n < from + count; n++) {
      const id = 2 * n + 1;
      client.send(callHead(id, more), data(id, resets(n) ? message() : NOW, true));
      if (!resets(n)) await client.replied(id);
      else {
        await until(() => server.snapshot().callsInFlight === 1);
        client.send(reset(id, CANCEL));
      }
      await until(() => server.snapshot().callsInFlight === 0);
    }
  }

  it("more than maxStreamResets, but half of 100 calls: served on; one more than half: closed", async () => {
    const one = await hanging({ maxStreamResets: 20 });
    const client = await rawTo(one);
    await calls(one, client, 0, 100, (n) => n % 2 === 1);
    expect(one.server.snapshot()).toMatchObject(SERVED);
    await calls(one, client, 100, 1, () => true);
    await evicted(client);
    expect(one.server.snapshot().refused).toEqual({ stream_resets: 1 });
    await recovered(one);
  });

  it("20 resets of 20 calls where 20 may be: served on; more: closed", async () => {
    const one = await hanging({ maxStreamResets: 20 });
    const client = await rawTo(one);
    await calls(one, client, 0, 20, () => true);
    expect(one.server.snapshot()).toMatchObject(SERVED);
    for (let id = 41; id < 61; id += 2) {
      client.send(callHead(id), data(id, message(), true), reset(id, CANCEL));
    }
    await evicted(client);
    expect(one.server.snapshot().refused).toEqual({ stream_resets: 1 });
  });

  it("1,100 in one burst, where Node lets 1,000: closed", async () => {
    const one = await hanging();
    const client = await rawTo(one);
    for (let n = 0; n < 1_100; n++) {
      const id = 2 * n + 1;
      client.send(callHead(id), data(id, message(), true), reset(id, CANCEL));
    }
    await client.end();
    await recovered(one);
  });

  it("maxResetRatio 1: any", async () => {
    const one = await hanging({ maxResetRatio: 1 });
    const client = await rawTo(one);
    await calls(one, client, 0, 120, () => true);
    await stays(client, 241);
  });

  it("once the reply has begun, a client may have had enough of it", async () => {
    const one = await hanging();
    const client = await rawTo(one);
    for (let n = 0; n < 100; n++) {
      const id = 2 * n + 1;
      client.send(callHead(id, {}, "/shop.Orders/List"), data(id, message(), true));
      await client.raw.until(() => client.frames.some((frame) => frame.id === id), "a message");
      client.send(reset(id, CANCEL));
      await until(() => one.server.snapshot().callsInFlight === 0);
    }
    await stays(client, 201);
    expect(one.server.snapshot()).toMatchObject(SERVED);
  });

  it("a client that gives up after a second is not asked to leave", async () => {
    const one = await hanging();
    const client = await rawTo(one);
    const ids = Array.from({ length: 60 }, (_, n) => 2 * n + 1);
    for (const id of ids) {
      client.send(callHead(id), data(id, message(), true));
    }
    await until(() => one.server.snapshot().callsInFlight === 60);
    await sleep(1_050);
    client.send(...ids.map((id) => reset(id, CANCEL)));
    await until(() => one.server.snapshot().callsInFlight === 0);
    await stays(client, 121);
    expect(one.server.snapshot()).toMatchObject(SERVED);
  });

  it.each(["end", "resetAndDestroy", "destroy"] as const)(
    "a client that dies amid 80 calls has not reset them: %s",
    async (way) => {
      const one = await hanging();
      const client = await rawTo(one);
      for (let n = 0; n < 80; n++) {
        client.send(callHead(2 * n + 1), data(2 * n + 1, message(), true));
      }
      await until(() => one.server.snapshot().callsInFlight === 80);
      client.raw.socket[way]();
      await recovered(one);
      expect(one.server.snapshot().refused).toEqual({});
    },
  );
});
