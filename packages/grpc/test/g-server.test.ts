/** Faults of gRPC clients, played against the server half on real sockets. */
import { gzipSync } from "node:zlib";
import { Metadata, status as Status } from "@grpc/grpc-js";
import { createMesh, meshGrpc, meshGrpcServer } from "@inmesh/grpc";
import { expectNoLeak } from "@inmesh/core/testing";
import { describe, expect, it } from "vitest";
import {
  data,
  END_HEADERS,
  frame,
  GOAWAY,
  head,
  HEADERS,
  PING,
  PREFACE,
  reset,
  settings,
} from "../../http/test/support/h2-peer.ts";
import { get } from "./support/bench.ts";
import { Http2Caller } from "./support/http2-caller.ts";
import { Orders, OrdersServer, type Order } from "./support/orders.ts";
import { callHead, message, RawGrpcClient } from "./support/raw-grpc-client.ts";
import { ask, bareClient, served } from "./support/served.ts";
import { sleep, until } from "./support/wire.ts";

/** `count = 7` of an Order. */
const SEVEN = message(Buffer.from([0x10, 7]));

describe("messages", () => {
  it("G6 GS: over the limit, by its length alone: RESOURCE_EXHAUSTED before it is here", async () => {
    const { orders } = await served();
    using caller = new Http2Caller(orders.port);
    const stream = caller.open("Get");
    stream.write(message(Buffer.alloc(10), 0, 4 * 1_048_576 + 1));
    expect((await caller.ended(stream)).status).toBe(Status.RESOURCE_EXHAUSTED);
    expect(orders.calls).toBe(0);
    expect((await caller.call("Get", SEVEN)).status).toBe(Status.OK);
  });

  it("G6 GS: a compressed bomb is stopped at the limit", async () => {
    const server = meshGrpcServer({ limits: { maxMessageBytes: 65_536 } });
    let ran = 0;
    server.server.addService(Orders.service, { get: () => void ran++ });
    const port = await server.listen("127.0.0.1:0");
    using caller = new Http2Caller(port);
    const bomb = gzipSync(Buffer.alloc(32 * 1_048_576));
    expect(bomb.length).toBeLessThan(65_536);
    const { status } = await caller.call("Get", message(bomb, 1), { "grpc-encoding": "gzip" });
    expect(status).toBe(Status.RESOURCE_EXHAUSTED);
    expect(ran).toBe(0);
    await server.close(0);
  });

  it("G19 GS: length prefixes that lie, flags without an encoding, bad compression", async () => {
    const { orders, server } = await served();
    using caller = new Http2Caller(orders.port);
    const gzip = { "grpc-encoding": "gzip" };
    for (const [body, more, wanted] of [
      [message(Buffer.alloc(1), 0, 0xffff_ffff), {}, Status.RESOURCE_EXHAUSTED],
      // The stream ends within a message: there was none.
      [message(Buffer.alloc(3), 0, 100), {}, Status.UNIMPLEMENTED],
      [Buffer.from([0, 0]), {}, Status.UNIMPLEMENTED],
      [message(Buffer.from("no gzip"), 1), gzip, Status.INTERNAL],
      [message(Buffer.alloc(3), 1), { "grpc-encoding": "br" }, Status.UNIMPLEMENTED],
      // Not compressed after all: what is in it is no Order.
      [message(Buffer.from([0xff]), 1), {}, Status.INTERNAL],
      [message(Buffer.from([0xff])), {}, Status.INTERNAL],
    ] as const) {
      const { status } = await caller.call("Get", body, more);
      expect(status, `${body.toString("hex")} ${JSON.stringify(more)}`).toBe(wanted);
    }
    expect(orders.calls).toBe(0);
    await until(() => server.snapshot().callsInFlight === 0);
  });

  it("G19 GS: 100,000 empty messages are counted, not kept", async () => {
    const { orders } = await served();
    using caller = new Http2Caller(orders.port);
    const stream = caller.open("Add");
    const ended = caller.ended(stream);
    const many = Buffer.alloc(5 * 1_000);
    for (let i = 0; i < 100; i++) {
      if (!stream.write(many)) await new Promise((resolve) => stream.once("drain", resolve));
    }
    stream.end();
    expect((await ended).status).toBe(Status.OK);
  });

  it("G9 GS: one message in many frames, a half close, and a cancel within a conversation", async () => {
    const { orders, server } = await served();
    using caller = new Http2Caller(orders.port);
    const stream = caller.open("Get");
    const ended = caller.ended(stream);
    for (const byte of SEVEN) {
      stream.write(Buffer.from([byte]));
      await sleep(1);
    }
    stream.end();
    expect((await ended).status).toBe(Status.OK);
    const chat = caller.open("Chat");
    let echoed = 0;
    chat.on("data", () => echoed++);
    chat.write(SEVEN);
    await until(() => echoed > 0);
    chat.close(8);
    const startedAt = performance.now();
    await until(() => orders.cancelled > 0 && server.snapshot().callsInFlight === 0);
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });

  it("wrong services and wrong content get an error that says so", async () => {
    const { orders, server } = await served();
    using caller = new Http2Caller(orders.port);
    const { status } = await caller.call("Nothing", SEVEN);
    expect(status).toBe(Status.UNIMPLEMENTED);
    for (const path of ["/shop.Payments/Get", "/Get", "/", "/shop.Orders/Get/x"]) {
      expect((await caller.call("", SEVEN, { ":path": path })).status, path).toBe(
        Status.UNIMPLEMENTED,
      );
    }
    const stream = caller.session.request({
      ":method": "POST",
      ":path": "/shop.Orders/Get",
      "content-type": "application/json",
    });
    stream.on("error", () => {});
    const code = await new Promise((resolve) =>
      stream.on("response", (headers) => resolve(headers[":status"])),
    );
    expect(code).toBe(415);
    expect(orders.calls).toBe(0);
    expect(server.snapshot().callsInFlight).toBe(0);
  });
});

describe("slow and silent clients", () => {
  it("G5 GS: a client that never opens its window loses its stream, others go on", async () => {
    const blob = Buffer.alloc(200_000);
    const { orders, server, client } = await served(
      {
        list: (call) => {
          call.write({ blob });
          call.end();
        },
      },
      { limits: { writeStallTimeoutMs: 300 } },
    );
    using caller = new Http2Caller(orders.port, { initialWindowSize: 0 });
    const stream = caller.open("List");
    const ended = caller.ended(stream);
    stream.end(SEVEN);
    await until(() => server.snapshot().callsInFlight === 1);
    expect((await ask(client)).error).toBeNull();
    const { status, resetCode } = await ended;
    expect(status).toBeUndefined();
    expect(resetCode).toBe(8);
    await until(() => server.snapshot().callsInFlight === 0);
    expect(server.snapshot().refused).toEqual({ write_stall: 1 });
  });

  it("G5 GS: nor does it keep a reply whose deadline has passed", async () => {
    const { orders, server } = await served(
      { get: (_call, done) => done(null, { blob: Buffer.alloc(200_000) }) },
      { limits: { writeStallTimeoutMs: 300 } },
    );
    using caller = new Http2Caller(orders.port, { initialWindowSize: 0 });
    const stream = caller.open("Get", { "grpc-timeout": "50m" });
    const ended = caller.ended(stream);
    stream.end(SEVEN);
    expect(await ended).toMatchObject({ status: undefined, resetCode: 8 });
    await until(() => server.snapshot().callsInFlight === 0);
    expect(server.snapshot().refused).toEqual({ write_stall: 1 });
  });

  it("C9 GS: a message that never ends is ended by the deadline", async () => {
    const { orders, server } = await served();
    using caller = new Http2Caller(orders.port);
    const stream = caller.open("Add", { "grpc-timeout": "300m" });
    const ended = caller.ended(stream);
    stream.write(message(Buffer.alloc(1), 0, 1_000));
    const timer = setInterval(() => stream.write(Buffer.alloc(1)), 20);
    expect((await ended).status).toBe(Status.DEADLINE_EXCEEDED);
    clearInterval(timer);
    await until(() => server.snapshot().callsInFlight === 0);
  });

  it("G17 GS, C8 GS: silence, half a preface, one byte at a time, garbage: closed", async () => {
    const { orders, client, server } = await served({}, { limits: { handshakeTimeoutMs: 200 } });
    using silent = await RawGrpcClient.open(orders.port, null);
    using half = await RawGrpcClient.open(orders.port, null);
    half.send(PREFACE.subarray(0, 12));
    using slow = await RawGrpcClient.open(orders.port, null);
    let at = 0;
    const timer = setInterval(() => slow.send(PREFACE.subarray(at, ++at)), 50);
    using garbage = await RawGrpcClient.open(orders.port, null);
    garbage.send(Buffer.from("GET / HTTP/1.1\r\nhost: orders\r\n\r\n"));
    for (const raw of [silent, half, slow, garbage]) await raw.end();
    clearInterval(timer);
    expect((await ask(client)).error).toBeNull();
    await sleep(300);
    // A client that has shown its protocol is not silent.
    expect(server.snapshot().sessions).toBe(1);
    expect((await ask(client)).error).toBeNull();
  });
});

describe("frames", () => {
  it("G13 GS: unknown frames and settings, PRIORITY, ALTSVC and ORIGIN are ignored", async () => {
    const { orders } = await served();
    using raw = await RawGrpcClient.open(orders.port, settings(0xf0f0, 7, 0x9, 1));
    const priority = Buffer.from([0, 0, 0, 0, 16]);
    for (let i = 0; i < 50; i++) {
      raw.send(
        frame(0xfa, 0xff, 0, Buffer.alloc(20)),
        frame(2, 0, 2 * i + 101, priority),
        frame(0xa, 0, 0, Buffer.from([0, 1, 0x61, 0x62])),
        frame(0xc, 0, 0, Buffer.from([0, 1, 0x61])),
      );
    }
    raw.call(1);
    await raw.replied(1);
    expect(orders.calls).toBe(1);
  });

  it("G16 GS: illegal frames end their connection or stream, and no other", async () => {
    const { orders, client } = await served();
    for (const bad of [
      data(1, "before any head"),
      Buffer.concat([callHead(1), frame(HEADERS, END_HEADERS, 3, Buffer.from([0xff]))]),
      frame(0, 8, 1, Buffer.from([200, 1])),
      head(1, { ":method": "POST", "Upper-Case": "x" }, true),
      frame(HEADERS, END_HEADERS, 2, Buffer.alloc(3)),
      frame(8, 0, 0, Buffer.alloc(4)),
      frame(4, 0, 0, Buffer.alloc(5)),
    ]) {
      using raw = await RawGrpcClient.open(orders.port);
      raw.send(bad);
      const answered = (): boolean => raw.frames.some(({ type }) => type === GOAWAY || type === 3);
      await raw.raw.until(() => answered() || raw.closed, `an end after ${bad.toString("hex")}`);
    }
    expect((await ask(client)).error).toBeNull();
    expect(orders.calls).toBe(1);
  });

  it("G11 GS: pings are answered", async () => {
    const { orders } = await served();
    using raw = await RawGrpcClient.open(orders.port);
    for (let i = 0; i < 5; i++) raw.send(frame(PING, 0, 0, Buffer.alloc(8, i)));
    const answers = (): number =>
      raw.frames.filter(({ type, flags }) => type === PING && flags === 1).length;
    await raw.raw.until(() => answers() === 5, "five answers");
    raw.call(1);
    await raw.replied(1);
  });

  it("G15 GS: a reply before the request has ended arrives, and the rest is not waited for", async () => {
    const { orders, server } = await served({ add: (_call, done) => done(null, { count: 3 }) });
    using caller = new Http2Caller(orders.port);
    const stream = caller.open("Add");
    const ended = caller.ended(stream);
    const timer = setInterval(() => stream.write(SEVEN), 10);
    stream.on("trailers", () => stream.close(0));
    expect((await ended).status).toBe(Status.OK);
    clearInterval(timer);
    await until(() => server.snapshot().callsInFlight === 0);
  });

  it("G3 GS: a flood of resets ends its connection, and no other", async () => {
    const { orders, client, server } = await served({ get: () => {} });
    using raw = await RawGrpcClient.open(orders.port);
    for (let id = 1; id < 6_000 && !raw.closed; id += 2) {
      raw.send(callHead(id), data(id, message(), true), reset(id, 8));
      if (id % 200 === 1) await sleep(1);
    }
    await raw.end();
    await until(() => server.snapshot().callsInFlight === 0);
    const list = client.list({ count: 3 });
    let got = 0;
    for await (const _ of list) got++;
    expect(got).toBe(3);
  });

  it("G18 GS: a timeout that is none is INTERNAL, before the handler; without one there is no limit", async () => {
    const { orders } = await served();
    using caller = new Http2Caller(orders.port);
    for (const bad of ["5", "x", "m", "", "S5"]) {
      const { status } = await caller.call("Get", SEVEN, { "grpc-timeout": bad });
      expect(status, bad).toBe(Status.INTERNAL);
    }
    expect(orders.calls).toBe(0);
    // Not base64: Node's decoder takes what it can; the call is none the worse.
    expect((await caller.call("Get", SEVEN, { "k-bin": "!!!" })).status).toBe(Status.OK);
  });
});

describe("many", () => {
  it("B8 GS: ten times the load: what fits is served, the rest is refused at once, then all is well", async () => {
    let running = 0;
    let most = 0;
    const { client, server } = await served(
      {
        get: (_call, done) => {
          most = Math.max(most, ++running);
          setTimeout(() => {
            running--;
            done(null, {});
          }, 20);
        },
      },
      { limits: { maxInFlight: 20, maxLoopDelayMs: Infinity } },
    );
    const answers = await Promise.all(Array.from({ length: 200 }, () => ask(client)));
    const refused = answers.filter(({ error }) => error !== null);
    expect(refused.length).toBeGreaterThan(0);
    for (const { error } of refused) {
      expect(error!.code).toBe(Status.UNAVAILABLE);
      expect(error!.metadata.get("x-mesh-nack")).toEqual(["1"]);
    }
    expect(most).toBeLessThanOrEqual(20);
    expect(server.snapshot().refused).toEqual({ concurrency: refused.length });
    await until(() => server.snapshot().callsInFlight === 0);
    expect((await ask(client)).error).toBeNull();
  });

  it("G12 GS: connections are replaced by their age without a failed call", async () => {
    const server = meshGrpcServer({ limits: { maxConnectionAgeMs: 150 } });
    server.server.addService(Orders.service, {
      get: (_call: unknown, done: (error: null, order: Order) => void) => {
        setTimeout(() => done(null, {}), 2);
      },
    });
    const port = await server.listen("127.0.0.1:0");
    using raw = await RawGrpcClient.open(port);
    const mesh = createMesh({
      env: {},
      config: { services: { orders: { discovery: { static: [`127.0.0.1:${port}`] } } } },
    });
    const client = new Orders(...meshGrpc("orders", { mesh }));
    const endsAt = performance.now() + 1_000;
    const errors: string[] = [];
    const worker = async (): Promise<void> => {
      while (performance.now() < endsAt) {
        await get(client, {}).catch(async (error: unknown) => {
          errors.push(String(error));
          await sleep(5);
        });
      }
    };
    await Promise.all(Array.from({ length: 5 }, worker));
    await raw.raw.until(() => raw.frames.some(({ type }) => type === GOAWAY), "a GOAWAY");
    expect(errors).toEqual([]);
    await mesh.close(0);
    await server.close(0);
  });

  it("10,000 calls cancelled at random moments: everything goes back to zero", async () => {
    let seed = 7;
    const random = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
    await expectNoLeak(async () => {
      const orders = new OrdersServer("a", {
        get: (_call, done) => void setTimeout(() => done(null, {}), 3),
      });
      const server = meshGrpcServer(orders.server, {
        limits: { maxInFlight: Infinity, maxLoopDelayMs: Infinity },
      });
      await orders.listen();
      let settled = 0;
      const one = (client: ReturnType<typeof bareClient>): Promise<void> =>
        new Promise((resolve) => {
          const over = (): void => {
            settled++;
            resolve();
          };
          const kind = Math.floor(random() * 3);
          const call =
            kind === 0
              ? client.get({}, over)
              : kind === 1
                ? client.list({ count: 5 }, new Metadata(), {})
                : client.add(over);
          if (kind === 1) {
            const list = call as ReturnType<typeof client.list>;
            list.resume();
            list.on("error", () => {});
            list.on("status", over);
          }
          setTimeout(() => call.cancel(), random() * 8);
        });
      for (let i = 0; i < 20; i++) {
        const client = bareClient(orders.address);
        await Promise.all(Array.from({ length: 500 }, () => one(client)));
        client.close();
      }
      expect(settled).toBe(10_000);
      await until(() => server.snapshot().callsInFlight === 0);
      await server.close(0);
      await until(() => server.snapshot().sessions === 0);
    });
  }, 60_000);

  it("L2 GS, L9 GS: leaving twice and while binding; calls afterwards are UNAVAILABLE", async () => {
    const { server, client } = await served({}, { discoveryWaitMs: 50 });
    expect((await ask(client)).error).toBeNull();
    const first = server.drain(2_000);
    expect(server.drain(10)).toBe(first);
    expect(server.close()).toBe(first);
    await first;
    expect((await ask(client)).error?.code).toBe(Status.UNAVAILABLE);
    const starting = meshGrpcServer();
    const bound = starting.listen("127.0.0.1:0").catch(() => 0);
    await starting.close(0);
    const port = await bound;
    expect(starting.state).toBe("closed");
    if (port === 0) return;
    const late = bareClient(`127.0.0.1:${port}`);
    expect((await ask(late)).error?.code).toBe(Status.UNAVAILABLE);
    late.close();
  });
});
