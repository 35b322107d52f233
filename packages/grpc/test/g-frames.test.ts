/** Section G of the fault matrix over the gRPC client, with servers that say any frame. */
import { gzipSync } from "node:zlib";
import { Metadata, status as Status } from "@grpc/grpc-js";
import type { ServiceInput } from "@inmesh/core";
import { callInfo } from "@inmesh/grpc";
import { expect, it } from "vitest";
import {
  block,
  data,
  frame,
  goaway,
  h2Peer,
  head,
  HEADERS,
  END_HEADERS,
  PING,
  reset,
  RST_STREAM,
  settings,
  MAX_CONCURRENT_STREAMS,
  WINDOW_UPDATE,
  words,
} from "../../http/test/support/h2-peer.ts";
import { counted, get } from "./support/bench.ts";
import { answerAll, ok, REPLY_HEAD, X_ORDER } from "./support/frames.ts";
import type { Order } from "./support/orders.ts";
import { framed } from "./support/scripted-server.ts";
import { clientOf, failed } from "./support/wire.ts";

const CONTINUATION = 9;
const NO_ERROR = 0;
const INTERNAL_ERROR = 2;
const REFUSED_STREAM = 7;
const CANCEL = 8;
const ENHANCE_YOUR_CALM = 11;
const VOUCHED: ServiceInput = {
  routes: [{ name: "vouched", idempotent: true }],
  breaker: { consecutiveFailures: 0, successRatio: 0 },
  retryBudget: { minPerSecond: 100 },
};

/** Answers with these frames, call by call, the last ones again and again. */
function scripted(...replies: readonly ((id: number) => readonly Buffer[])[]) {
  let calls = 0;
  const peer = h2Peer(async (connection) => {
    await connection.open();
    for (;;) {
      const id = await connection.request();
      const reply = replies[Math.min(calls++, replies.length - 1)]!;
      await connection.write(...reply(id));
    }
  });
  return peer.then((one) => ({ address: one.address, calls: () => calls }));
}

const many = (count: number, value: string): Record<string, string> =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, value]));

/** One header block in as many frames as it needs. */
function fragments(id: number, whole: Buffer): readonly Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at < whole.length; at += 16_384) {
    const last = at + 16_384 >= whole.length;
    const type = at === 0 ? HEADERS : CONTINUATION;
    frames.push(frame(type, last ? END_HEADERS : 0, id, whole.subarray(at, at + 16_384)));
  }
  return frames;
}

const trailersOnly = (id: number, fields: Record<string, string>): readonly Buffer[] => [
  head(id, { ...REPLY_HEAD, ...fields }, true),
];

it("G1 GC: GOAWAY: streams above its last id go elsewhere, those below finish", async () => {
  const ids: number[] = [];
  const peer = await h2Peer(async (connection) => {
    await connection.open();
    if (connection.number > 1) return answerAll(connection);
    for (let i = 0; i < 3; i++) ids.push(await connection.request());
    await connection.write(goaway(ids[0]!, NO_ERROR), ok(ids[0]!));
  });
  const { client, mesh } = clientOf([peer.address]);
  const replies = await Promise.all([1, 2, 3].map(() => get(client, {})));
  expect(replies.map(({ id }) => id)).toEqual(["x", "x", "x"]);
  expect(counted(mesh, "inmesh.attempts", { kind: "resend" })).toBe(2);
  expect(counted(mesh, "inmesh.attempts", { outcome: "failure" })).toBe(0);
});

it("G3 GC: RST_STREAM: REFUSED_STREAM is sent again, whatever the method", async () => {
  const peer = await scripted(
    (id) => [reset(id, REFUSED_STREAM)],
    (id) => [ok(id)],
  );
  const { client, mesh } = clientOf([peer.address]);
  expect((await get(client, {})).id).toBe("x");
  expect(counted(mesh, "inmesh.attempts", { kind: "resend" })).toBe(1);
});

it.each([
  ["CANCEL", CANCEL, Status.CANCELLED, 1],
  ["INTERNAL_ERROR", INTERNAL_ERROR, Status.INTERNAL, 2],
  ["ENHANCE_YOUR_CALM", ENHANCE_YOUR_CALM, Status.RESOURCE_EXHAUSTED, 2],
])("G3 GC: RST_STREAM: %s", async (_, code, status, calls) => {
  const peer = await scripted((id) => [reset(id, code)]);
  const { client } = clientOf([peer.address], VOUCHED);
  expect((await failed(get(client, {}))).code).toBe(status);
  expect(peer.calls()).toBe(calls);
  const unvouched = clientOf([peer.address]);
  expect((await failed(get(unvouched.client, {}))).code).toBe(status);
  expect(peer.calls()).toBe(calls + 1);
});

it("G4 GC: one stream at a time: calls wait for each other, none is lost", async () => {
  const peer = await h2Peer(async (connection) => {
    await connection.open(settings(MAX_CONCURRENT_STREAMS, 1));
    await answerAll(connection);
  });
  const { client } = clientOf([peer.address]);
  const replies = await Promise.all(Array.from({ length: 20 }, () => get(client, {})));
  expect(replies).toHaveLength(20);
});

it("G5 GC: a window that never opens: the stream ends by its deadline, others do not notice", async () => {
  const blob = Buffer.alloc(200_000);
  const peer = await h2Peer(async (connection) => {
    await connection.open();
    // Room for all on the connection, none on the stream.
    await connection.write(frame(WINDOW_UPDATE, 0, 0, words(1_000_000)));
    await connection.request();
    await answerAll(connection);
  });
  const { client } = clientOf([peer.address]);
  const stuck = failed(get(client, { blob }, { deadline: Date.now() + 300 }));
  expect((await stuck).code).toBe(Status.DEADLINE_EXCEEDED);
  expect((await get(client, {}, { deadline: Date.now() + 5_000 })).id).toBe("x");
});

it("G6 GC: a message over the limit ends in RESOURCE_EXHAUSTED before it is allocated", async () => {
  const peer = await scripted((id) => [
    head(id, REPLY_HEAD),
    data(id, framed(Buffer.alloc(10), 0, 0x7fff_ffff)),
  ]);
  const { client } = clientOf([peer.address]);
  const before = process.memoryUsage().arrayBuffers;
  expect((await failed(get(client, {}))).code).toBe(Status.RESOURCE_EXHAUSTED);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10_000_000);
});

it("G6 GC: a compressed bomb is not inflated beyond the limit", async () => {
  const bomb = gzipSync(Buffer.alloc(64_000_000));
  const peer = await scripted((id) => {
    const body = framed(bomb, 1);
    const frames = [head(id, { ...REPLY_HEAD, "grpc-encoding": "gzip" })];
    for (let at = 0; at < body.length; at += 16_384) {
      frames.push(data(id, body.subarray(at, at + 16_384)));
    }
    return frames;
  });
  const { client } = clientOf([peer.address]);
  expect((await failed(get(client, {}))).code).toBe(Status.RESOURCE_EXHAUSTED);
});

it.each([
  [
    "trailers only",
    (id: number) => trailersOnly(id, { "grpc-status": "14", "grpc-message": "no" }),
    Status.UNAVAILABLE,
    "failure",
  ],
  [
    "no trailers",
    (id: number) => [head(id, REPLY_HEAD), data(id, X_ORDER, true)],
    Status.INTERNAL,
    "failure",
  ],
  ["200 without a status", (id: number) => [head(id, REPLY_HEAD, true)], Status.UNKNOWN, "failure"],
  [
    "502 with a page",
    (id: number) => [
      head(id, { ":status": "502", "content-type": "text/html" }),
      data(id, "<html>", true),
    ],
    Status.UNAVAILABLE,
    "failure",
  ],
  [
    "403 of a middlebox",
    (id: number) => [head(id, { ":status": "403" }, true)],
    Status.PERMISSION_DENIED,
    "success",
  ],
  [
    "404 of a middlebox",
    (id: number) => [head(id, { ":status": "404" }, true)],
    Status.UNIMPLEMENTED,
    "success",
  ],
  [
    "429 of a middlebox",
    (id: number) => [head(id, { ":status": "429" }, true)],
    Status.UNAVAILABLE,
    "failure",
  ],
])("G8 GC: %s", async (_, reply, status, outcome) => {
  const peer = await scripted(reply as (id: number) => readonly Buffer[]);
  const { client, mesh } = clientOf([peer.address]);
  const error = await failed(get(client, {}));
  expect(error.code).toBe(status);
  expect(counted(mesh, "inmesh.attempts", { outcome })).toBe(1);
});

it("G8 GC: a middlebox's page is tried elsewhere", async () => {
  const page = (id: number): readonly Buffer[] => [
    head(id, { ":status": "502", "content-type": "text/html" }),
    data(id, "<html>", true),
  ];
  const peer = await scripted(page, (id) => [ok(id)]);
  const { client } = clientOf([peer.address], VOUCHED);
  expect((await get(client, {})).id).toBe("x");
});

it("G9 GC: after the first message nothing is sent again", async () => {
  const peer = await scripted((id) => [
    head(id, REPLY_HEAD),
    data(id, X_ORDER),
    head(id, { "grpc-status": "14" }, true),
  ]);
  const { client } = clientOf([peer.address], VOUCHED);
  const orders: Order[] = [];
  const read = async (): Promise<void> => {
    for await (const order of client.list({})) orders.push(order as Order);
  };
  expect((await failed(read())).code).toBe(Status.UNAVAILABLE);
  expect(orders).toHaveLength(1);
  expect((await failed(get(client, {}))).code).toBe(Status.UNAVAILABLE);
  expect(peer.calls()).toBe(2);
});

it("G9 GC: one message in many DATA frames, many messages in one", async () => {
  const big = framed(Buffer.concat([Buffer.from([26, 100]), Buffer.alloc(100, 7)]));
  const peer = await scripted((id) => [
    head(id, REPLY_HEAD),
    ...Array.from(big, (byte) => data(id, Buffer.from([byte]))),
    data(id, Buffer.concat([X_ORDER, X_ORDER, X_ORDER])),
    head(id, { "grpc-status": "0" }, true),
  ]);
  const { client } = clientOf([peer.address]);
  const orders: Order[] = [];
  for await (const order of client.list({})) orders.push(order as Order);
  expect(orders.map(({ id, blob }) => [id, blob?.length ?? 0])).toEqual([
    [undefined, 100],
    ["x", 0],
    ["x", 0],
    ["x", 0],
  ]);
});

it.each([
  ["a number is waited for", "60", 2, 55],
  ["below zero: none", "-1", 1, 0],
  ["garbage: none", "soon", 1, 0],
  ["a fraction: none", "1.5", 1, 0],
  ["beyond the deadline: the failure goes back at once", "60000", 1, 0],
  ["beyond all numbers: the same", "99999999999999999999", 1, 0],
])("G14 GC, R15 GC: pushback: %s", async (_, pushback, calls, atLeastMs) => {
  const peer = await scripted((id) =>
    trailersOnly(id, { "grpc-status": "14", "grpc-retry-pushback-ms": pushback }),
  );
  const { client } = clientOf([peer.address], VOUCHED);
  const startedAt = performance.now();
  const error = await failed(get(client, {}, { deadline: Date.now() + 5_000 }));
  expect(error.code).toBe(Status.UNAVAILABLE);
  expect(peer.calls()).toBe(calls);
  expect(performance.now() - startedAt).toBeGreaterThanOrEqual(atLeastMs);
  expect(performance.now() - startedAt).toBeLessThan(4_000);
});

it("G15 GC: the whole reply before the request has ended is the reply", async () => {
  const peer = await scripted((id) => [ok(id), reset(id, NO_ERROR)]);
  const { client } = clientOf([peer.address]);
  const reply = await new Promise<Order>((resolve, reject) => {
    const stream = client.add((error, order) => (error === null ? resolve(order!) : reject(error)));
    stream.on("error", () => {});
    stream.write({ count: 1 });
  });
  expect(reply.id).toBe("x");
});

it.each([
  ["DATA before HEADERS", (id: number) => [data(id, X_ORDER)]],
  ["HEADERS without :status", (id: number) => [head(id, { "content-type": "application/grpc" })]],
  ["an upper-case field", (id: number) => [head(id, { ...REPLY_HEAD, "X-Upper": "1" })]],
  ["a frame on stream 0 that may not be there", () => [frame(HEADERS, END_HEADERS, 0)]],
])("G16 GC: %s: the call fails, the next is answered", async (_, reply) => {
  const peer = await scripted(reply as (id: number) => readonly Buffer[], (id) => [ok(id)]);
  const { client, mesh } = clientOf([peer.address]);
  const error = await failed(get(client, {}, { deadline: Date.now() + 3_000 }));
  expect([Status.UNAVAILABLE, Status.INTERNAL]).toContain(error.code);
  expect(counted(mesh, "inmesh.attempts", { outcome: "success" })).toBe(0);
  expect((await get(client, {})).id).toBe("x");
});

it("G17 GC: who says no SETTINGS has no connection, within the connect timeout", async () => {
  const peer = await h2Peer(async (connection) => {
    await connection.raw.write("HTTP/1.1 400 Bad Request\r\n\r\n");
  });
  const silent = await h2Peer((connection) => connection.raw.hold());
  for (const one of [peer, silent]) {
    const { client } = clientOf([one.address], { timeouts: { connectMs: 200 } });
    expect(await failed(get(client, {}))).toMatchObject({
      code: Status.UNAVAILABLE,
      cause: { code: "connect_failed", progress: "not-sent" },
    });
  }
});

it.each<[string, Record<string, string>, number]>([
  ["grpc-status: x", { "grpc-status": "x" }, Status.UNKNOWN],
  ["grpc-status: 99", { "grpc-status": "99" }, 99],
])("G18 GC: %s is a failure", async (_, fields, code) => {
  const peer = await scripted((id) => trailersOnly(id, fields));
  const { client, mesh } = clientOf([peer.address]);
  const error = await failed(get(client, {}));
  expect(error.code).toBe(code);
  expect(counted(mesh, "inmesh.attempts", { outcome: "failure" })).toBe(1);
});

it("G18 GC: a message that cannot be decoded is kept as it is; bad base64 does no harm", async () => {
  const peer = await scripted((id) =>
    trailersOnly(id, { "grpc-status": "9", "grpc-message": "50%zz", "x-bad-bin": "%%%" }),
  );
  const { client } = clientOf([peer.address]);
  expect(await failed(get(client, {}))).toMatchObject({
    code: Status.FAILED_PRECONDITION,
    details: "50%zz",
  });
});

it.each([
  [
    "a length of 0xFFFFFFFF",
    [data(1, framed(Buffer.alloc(1), 0, 0xffff_ffff))],
    Status.RESOURCE_EXHAUSTED,
  ],
  ["compressed without an encoding", [data(1, framed(Buffer.from([1, 2, 3]), 1))], Status.INTERNAL],
])("G19 GC: %s", async (_, frames, status) => {
  const peer = await scripted((id) => [
    head(id, REPLY_HEAD),
    ...frames.map((one) => {
      one.writeUInt32BE(id, 5);
      return one;
    }),
    head(id, { "grpc-status": "0" }, true),
  ]);
  const { client } = clientOf([peer.address]);
  expect((await failed(get(client, {}))).code).toBe(status);
});

it("G21 GC: metadata above our own limit fails here, and harms no connection", async () => {
  const peer = await scripted((id) => [ok(id)]);
  const { client } = clientOf([peer.address]);
  const large = new Metadata();
  large.set("x-large", "y".repeat(9_000));
  const error = await failed(get(client, {}, {}, large));
  expect(error).toMatchObject({ cause: { reason: "header_too_large" } });
  expect(callInfo(error)!.attempts).toBe(0);
  expect((await get(client, {})).id).toBe("x");
  expect(peer.calls()).toBe(1);
});

it.each([
  [
    "200 fields",
    Status.RESOURCE_EXHAUSTED,
    (id: number) => [head(id, { ...REPLY_HEAD, ...many(200, "v") }, true)],
  ],
  [
    "200 fields in trailers",
    Status.RESOURCE_EXHAUSTED,
    (id: number) => [
      head(id, REPLY_HEAD),
      data(id, X_ORDER),
      head(id, { "grpc-status": "0", ...many(200, "v") }, true),
    ],
  ],
  [
    "one of 100 kB",
    Status.INTERNAL,
    (id: number) => fragments(id, block({ ...REPLY_HEAD, ...many(1, "v".repeat(100_000)) })),
  ],
])(
  "a metadata bomb as reply, %s, fails without being kept; the next call is answered",
  async (_, status, reply) => {
    const peer = await scripted(reply as (id: number) => readonly Buffer[], (id) => [ok(id)]);
    const { client } = clientOf([peer.address]);
    const error = await failed(get(client, {}));
    expect(error.code).toBe(status);
    expect(Object.keys(error.metadata.getMap())).toEqual([]);
    expect((await get(client, {})).id).toBe("x");
  },
);

it.each([
  ["what is not gzip", "gzip"],
  ["an encoding that is unknown", "snappy"],
])("G19 GC: a compressed message: %s", async (_, encoding) => {
  const peer = await scripted((id) => [
    head(id, { ...REPLY_HEAD, "grpc-encoding": encoding }),
    data(id, framed(Buffer.from("what is this"), 1)),
    head(id, { "grpc-status": "0" }, true),
  ]);
  const { client } = clientOf([peer.address]);
  expect((await failed(get(client, {}))).code).toBe(Status.INTERNAL);
});

it("G11 GC: no ping is sent by itself", async () => {
  let pings = 0;
  const peer = await h2Peer(async (connection) => {
    await connection.open();
    for (;;) {
      const got = await connection.next();
      if (got.type === PING) pings++;
      if (got.type === HEADERS) await connection.write(ok(got.id));
    }
  });
  const { client } = clientOf([peer.address]);
  for (let i = 0; i < 5; i++) await get(client, {});
  expect(pings).toBe(0);
});

it("G9 GC: a cancelled call ends by RST_STREAM, at once", async () => {
  const seen: Promise<number> = new Promise((resolve) => {
    void h2Peer(async (connection) => {
      await connection.open();
      const id = await connection.request();
      chatting();
      const got = await connection.until(RST_STREAM, id);
      resolve(got.payload.readUInt32BE(0));
    }).then((peer) => start(peer));
  });
  let chatting = (): void => {};
  const began = new Promise<void>((resolve) => (chatting = resolve));
  let cancel = (): void => {};
  function start(peer: { address: string }): void {
    const { client } = clientOf([peer.address]);
    const chat = client.chat();
    chat.on("error", () => {});
    chat.write({ count: 1 });
    cancel = () => chat.cancel();
  }
  await began;
  const startedAt = performance.now();
  cancel();
  expect(await seen).toBe(CANCEL);
  expect(performance.now() - startedAt).toBeLessThan(100);
});
