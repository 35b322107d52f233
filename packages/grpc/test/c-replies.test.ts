/** Section C of the fault matrix, gRPC client: connections that end, freeze or dribble under a call. */
import { Metadata, status as Status, type ServiceError } from "@grpc/grpc-js";
import type { ServiceInput } from "@inmesh/core";
import { callInfo } from "@inmesh/grpc";
import { describe, expect, it, onTestFinished } from "vitest";
import { startChild, type Child } from "../../http/test/support/children.ts";
import {
  block,
  data,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  h2Peer,
  head,
  HEADERS,
  RST_STREAM,
  settings,
  WINDOW_UPDATE,
  words,
  type H2Connection,
} from "../../http/test/support/h2-peer.ts";
import { get } from "./support/bench.ts";
import { ok, REPLY_HEAD, X_ORDER } from "./support/frames.ts";
import type { Order } from "./support/orders.ts";
import { framed } from "./support/scripted-server.ts";
import { clientOf, endpointOf, failed, serverOf, sleep, until } from "./support/wire.ts";

const INITIAL_WINDOW_SIZE = 4;
const CONTINUATION = 9;
/** Its calls may be sent again, and no verdict keeps the bad endpoint out of the test. */
const VOUCHED: ServiceInput = {
  routes: [{ name: "vouched", idempotent: true }],
  breaker: { consecutiveFailures: 1_000, failureSpanMs: 0, successRatio: 0 },
  balancer: { kind: "round-robin" },
  retryBudget: { ratio: 1, minPerSecond: 100 },
};
const { routes: _, ...UNVOUCHED } = VOUCHED;

/** Reads a request to its end. */
async function whole(connection: H2Connection): Promise<number> {
  const id = await connection.request();
  for (;;) {
    const { flags, type } = await connection.until(DATA, id);
    if (type === DATA && (flags & END_STREAM) !== 0) return id;
  }
}

/** A server of HTTP/2 in a process of its own; `reply` sees `stream`, and a prefixed order as `order`. */
async function child(reply: string): Promise<Child> {
  const started = await startChild(`
    const order = Buffer.from([0, 0, 0, 0, 3, 10, 1, 120]);
    const server = require("node:http2").createServer();
    server.on("stream", (stream) => {
      stream.on("error", () => {});
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      ${reply}
    });
    server.listen(0, "127.0.0.1", () => ready(server.address().port));
  `);
  onTestFinished(() => started[Symbol.asyncDispose]());
  return started;
}

describe("C4: the connection ends before any byte of a reply", () => {
  it.each(["fin", "rst"] as const)(
    "C4 GC: by %s before its settings: not sent, whatever the method",
    async (end) => {
      const bad = await h2Peer((connection) => Promise.resolve(connection.raw[end]()));
      const good = await serverOf();
      const { client } = clientOf([bad.address, good.address], UNVOUCHED);
      for (let i = 0; i < 4; i++) expect((await get(client, {})).id).toBe(good.name);
      const alone = clientOf([bad.address]);
      expect(await failed(get(alone.client, {}))).toMatchObject({
        code: Status.UNAVAILABLE,
        cause: { code: "connect_failed", progress: "not-sent" },
      });
    },
  );

  it.each(["fin", "rst"] as const)(
    "C4 GC: by %s under a call, on new and reused connections",
    async (end) => {
      // The first call of every second connection is answered; the next one is not.
      const bad = await h2Peer(async (connection) => {
        await connection.open();
        if (connection.number % 2 === 0) await connection.write(ok(await whole(connection)));
        await whole(connection);
        connection.raw[end]();
      });
      const good = await serverOf();
      const vouched = clientOf([bad.address, good.address], VOUCHED);
      for (let i = 0; i < 12; i++)
        expect(["x", good.name]).toContain((await get(vouched.client, {})).id);
      expect(bad.connections).toBeGreaterThan(2);
      const { client } = clientOf([bad.address, good.address], UNVOUCHED);
      const errors: ServiceError[] = [];
      for (let i = 0; i < 12; i++)
        await get(client, {}).catch((error: ServiceError) => errors.push(error));
      expect(errors.length).toBeGreaterThan(1);
      for (const error of errors) {
        expect(error).toMatchObject({
          code: Status.UNAVAILABLE,
          cause: { reason: "reset_before_response", progress: "maybe-processed" },
        });
        expect(callInfo(error)!.attempts).toBe(1);
      }
    },
  );
});

it("C10 GC: RST after the whole request: it surfaces, or is sent again where the route vouches", async () => {
  let requests = 0;
  const bad = await h2Peer(async (connection) => {
    await connection.open(settings(INITIAL_WINDOW_SIZE, 1_000_000));
    await connection.write(frame(WINDOW_UPDATE, 0, 0, words(1_000_000)));
    await whole(connection);
    requests++;
    connection.raw.rst();
  });
  const blob = Buffer.alloc(100_000);
  const { client } = clientOf([bad.address]);
  const error = await failed(get(client, { blob }));
  expect(error).toMatchObject({
    code: Status.UNAVAILABLE,
    cause: { reason: "reset_before_response", progress: "maybe-processed" },
  });
  expect(requests).toBe(1);
  const good = await serverOf();
  const both = clientOf([bad.address, good.address], VOUCHED);
  for (let i = 0; i < 6; i++) expect((await get(both.client, { blob })).id).toBe(good.name);
  expect(requests).toBeGreaterThan(1);
});

it("C11 GC: a process killed in the middle of a stream: what came is read, then UNAVAILABLE", async () => {
  const server = await child("stream.write(order)");
  const { client } = clientOf([`127.0.0.1:${server.port}`], VOUCHED);
  const orders: Order[] = [];
  const read = async (): Promise<void> => {
    for await (const order of client.list({})) {
      orders.push(order as Order);
      server.process.kill("SIGKILL");
    }
  };
  const error = await failed(read());
  expect(callInfo(error)!.attempts).toBe(1);
  expect(error).toMatchObject({
    code: Status.UNAVAILABLE,
    cause: { reason: "reset_mid_response", attempts: 1 },
  });
  expect(orders.map(({ id }) => id)).toEqual(["x"]);
});

it("C11 GC: a unary reply without its status is none: UNAVAILABLE, or another's where the route vouches", async () => {
  const bad = await h2Peer(async (connection) => {
    await connection.open();
    const id = await whole(connection);
    await connection.write(head(id, REPLY_HEAD), data(id, X_ORDER));
    await connection.raw.pause(30);
    connection.raw.rst();
  });
  const { client } = clientOf([bad.address]);
  expect((await failed(get(client, {}))).code).toBe(Status.UNAVAILABLE);
  const good = await serverOf();
  const both = clientOf([bad.address, good.address], VOUCHED);
  for (let i = 0; i < 4; i++) expect((await get(both.client, {})).id).toBe(good.name);
});

it("C7 GC: a frozen peer is avoided before its timeout; late answers are discarded", async () => {
  const servers = [
    await child("stream.end(order)"),
    await child("stream.end(order)"),
    await child("stream.end(order)"),
  ];
  const addresses = servers.map(({ port }) => `127.0.0.1:${port}`);
  const frozen = addresses[0]!;
  const { client, mesh } = clientOf(addresses, {
    routes: [{ name: "vouched", idempotent: true }],
    timeouts: { requestMs: 10_000, backendRequestMs: 1_800 },
  });
  let calls = 0;
  const errors: unknown[] = [];
  const pending = new Set<Promise<unknown>>();
  const load = async (ms: number): Promise<void> => {
    const endsAt = performance.now() + ms;
    while (performance.now() < endsAt) {
      calls++;
      const done = get(client, {})
        .then(({ id }) => expect(id).toBe("x"))
        .catch((error: unknown) => errors.push(error))
        .finally(() => pending.delete(done));
      pending.add(done);
      await sleep(3);
    }
  };
  await load(400);
  servers[0]!.process.kill("SIGSTOP");
  await load(500);
  const before = { picks: endpointOf(mesh, frozen).picks, calls };
  await load(1_000);
  const picks = endpointOf(mesh, frozen).picks - before.picks;
  expect(picks).toBeLessThanOrEqual(Math.ceil((calls - before.calls) * 0.02));
  await load(500);
  servers[0]!.process.kill("SIGCONT");
  await load(200);
  await Promise.all(pending);
  expect(errors).toEqual([]);
});

describe("C8, C9: byte by byte", () => {
  const dribble = async ({ raw }: H2Connection, bytes: Buffer, everyMs: number): Promise<void> => {
    for (const byte of bytes) {
      if (raw.gone) return;
      await raw.write(Buffer.from([byte]));
      await raw.pause(everyMs);
    }
    await raw.hold();
  };
  const HEAD = block({ ...REPLY_HEAD, "x-fill": "y".repeat(200) });

  it.each([
    ["a head in one frame", (id: number) => frame(HEADERS, END_HEADERS, id, HEAD)],
    [
      "a head that is continued",
      (id: number) =>
        Buffer.concat([
          frame(HEADERS, 0, id, HEAD.subarray(0, 20)),
          frame(CONTINUATION, END_HEADERS, id, HEAD.subarray(20)),
        ]),
    ],
  ])(
    "C8 GC: %s ends at the deadline, and at the attempt's timeout another answers",
    async (_name, reply) => {
      const slow = await h2Peer(async (connection) => {
        await connection.open();
        await dribble(connection, reply(await whole(connection)), 50);
      });
      const { client } = clientOf([slow.address]);
      const error = await failed(get(client, {}, { deadline: Date.now() + 400 }));
      expect(error).toMatchObject({
        code: Status.DEADLINE_EXCEEDED,
        cause: { reason: "call_deadline" },
      });
      const good = await serverOf();
      const both = clientOf([slow.address, good.address], {
        ...VOUCHED,
        timeouts: { backendRequestMs: 200, requestMs: 20_000 },
      });
      for (let i = 0; i < 4; i++) expect((await get(both.client, {})).id).toBe(good.name);
    },
  );

  it("C9 GC: a message that never ends is ended by the call's deadline, unary or stream", async () => {
    let resets = 0;
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      const id = await whole(connection);
      await connection.write(head(id, REPLY_HEAD), data(id, framed(Buffer.alloc(0), 0, 1_000_000)));
      const timer = setInterval(() => void connection.write(data(id, ".")), 30);
      await connection.until(RST_STREAM, id).finally(() => clearInterval(timer));
      resets++;
    });
    const deadline = (): { deadline: number } => ({ deadline: Date.now() + 400 });
    const unary = clientOf([peer.address], VOUCHED);
    expect((await failed(get(unary.client, {}, deadline()))).code).toBe(Status.DEADLINE_EXCEEDED);
    const { client } = clientOf([peer.address], VOUCHED);
    const read = async (): Promise<void> => {
      for await (const _order of client.list({}, new Metadata(), deadline())) expect.unreachable();
    };
    expect((await failed(read())).code).toBe(Status.DEADLINE_EXCEEDED);
    await until(() => resets === 2);
  });
});
