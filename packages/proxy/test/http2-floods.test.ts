/** What one connection of HTTP/2 may cost the proxy, in frames, memory and time, at each limit and far above it. */
import { describe, expect, it } from "vitest";
import { H2Client } from "../../http/test/support/h2-client.ts";
import {
  block,
  data,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  GOAWAY,
  head,
  HEADERS,
  PING,
  reset,
  RST_STREAM,
  settings,
  WINDOW_UPDATE,
  words,
  type Frame,
} from "../../http/test/support/h2-peer.ts";
import { FLOODS, repeat } from "./support/floods.ts";
import { origin2 } from "./support/http2.ts";
import { proxied, type ProxiedOptions } from "./support/proxied.ts";

const NO_ERROR = 0;
const CANCEL = 8;
const COMPRESSION_ERROR = 9;
const ENHANCE_YOUR_CALM = 11;
const CONTINUATION = 9;
const MIB = 1 << 20;
const GET = { ":method": "GET", ":scheme": "http", ":path": "/", ":authority": "orders" };
const POST = { ...GET, ":method": "POST" };

/** `/hang` is never answered, `/large` has 16 MiB. */
async function before(listener: ProxiedOptions["listener"] = {}) {
  let running = 0;
  let ran = 0;
  const origin = await origin2(
    (stream, headers) => {
      running++;
      ran++;
      stream.on("close", () => running--);
      stream.resume();
      if (headers[":path"] === "/hang") return;
      stream.respond({ ":status": 200 });
      stream.end(headers[":path"] === "/large" ? Buffer.alloc(16 * MIB) : "ok");
    },
    { maxConcurrentStreams: 1_000 },
  );
  const { port, proxy } = await proxied(
    { orders: { http2: true, discovery: { static: [origin.address] } } },
    { spoken: "http2", listener },
  );
  const [one] = proxy.listeners;
  return {
    port,
    client: await H2Client.to(port),
    refused: () => one!.snapshot().refused as Record<string, number>,
    connections: () => one!.connections,
    running: () => running,
    ran: () => ran,
  };
}

/** GOAWAY with this code, and within a second and a bit the end of the connection. */
async function evicted(client: H2Client, code: number = ENHANCE_YOUR_CALM): Promise<void> {
  const goaway = await client.until(({ type }) => type === GOAWAY, "GOAWAY");
  expect(goaway.payload.readUInt32BE(4)).toBe(code);
  await client.raw.end(5_000);
}

async function stays(client: H2Client, id = 99_999): Promise<void> {
  client.send(head(id, GET, true));
  await client.reply(id);
  expect(client.frames.some(({ type }) => type === GOAWAY)).toBe(false);
}

describe("frames that cost an answer, or nothing but time", () => {
  it.each(FLOODS)(
    "$name: $few are let through, a flood ends the connection",
    async ({ few, make, reason, many }) => {
      const { client, port, refused, connections } = await before();
      client.send(repeat(few, make));
      await stays(client);
      const other = await H2Client.to(port);
      other.send(repeat(many, make));
      await evicted(other);
      expect(refused()).toMatchObject({ [reason]: 1 });
      await expect.poll(connections).toBe(1);
    },
  );

  it("PING between frames of a body are no flood: peers measure round trips so", async () => {
    const { client } = await before();
    for (let i = 0; i < 40; i++) {
      client.send(head(2 * i + 1, GET, true), frame(PING, 0, 0, words(0, i)));
      await client.reply(2 * i + 1);
    }
    await stays(client);
  });

  it.each([
    [100, false],
    [102, true],
    [5_000, true],
  ])("%i empty DATA frames: the connection is closed: %s", async (count, closed) => {
    const { client, refused, running } = await before();
    client.send(
      head(1, POST),
      repeat(count, () => data(1, "")),
    );
    if (!closed) {
      client.send(data(1, "x", true));
      await client.reply(1);
      return stays(client);
    }
    await evicted(client);
    expect(refused()).toMatchObject({ frames: 1 });
    await expect.poll(running).toBe(0);
    return undefined;
  });
});

describe("heads", () => {
  /** A HEADERS frame and `count` CONTINUATIONs. */
  function split(count: number): Buffer {
    const whole = block({ ...GET, a: "1".repeat(count) });
    const first = whole.length - count;
    return Buffer.concat([
      frame(HEADERS, END_STREAM, 1, whole.subarray(0, first)),
      repeat(count, (i) =>
        frame(
          CONTINUATION,
          i === count - 1 ? END_HEADERS : 0,
          1,
          whole.subarray(first + i, first + i + 1),
        ),
      ),
    ]);
  }

  it.each([
    [8, false],
    [9, true],
    [1_000, true],
  ])("V10: %i CONTINUATION frames: the connection is closed: %s", async (count, closed) => {
    const { client, ran, refused } = await before();
    client.send(split(count));
    if (!closed) {
      await client.reply(1);
      return stays(client);
    }
    await evicted(client);
    expect(ran()).toBe(0);
    expect(refused()).toMatchObject({ head_too_large: 1 });
    return undefined;
  });

  it("CONTINUATION that never ends, 64 MB of it: what is kept is bounded", async () => {
    const { client } = await before();
    client.send(frame(HEADERS, END_STREAM, 1, block(GET)));
    for (let i = 0; i < 4_000 && !client.raw.closed; i++) {
      client.send(frame(CONTINUATION, 0, 1, Buffer.alloc(16_384)));
      if (i % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await client.raw.end(5_000);
  });

  it("V11: references to one large field, on 100 streams: the connection ends, in bounded memory", async () => {
    const { client, refused, ran } = await before();
    const value = "x".repeat(3_900);
    const insert = Buffer.concat([
      Buffer.from([0x40, 1, 0x62, 0x7f, 0xbd, 0x1d]), // b, a value of 3,900 bytes
      Buffer.from(value),
    ]);
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, Buffer.concat([block(GET), insert])));
    await client.reply(1);
    const rss = process.memoryUsage().rss;
    const bomb = Buffer.concat([block(GET), Buffer.alloc(15_000, 0xbe)]);
    for (let i = 1; i <= 100; i++) {
      client.send(frame(HEADERS, END_HEADERS | END_STREAM, 2 * i + 1, bomb));
    }
    // One head of 58 MB is more than a connection may hold.
    await evicted(client);
    expect(ran()).toBe(1);
    expect(Object.keys(refused())).toContain("header_too_large");
    // 1.5 MB were sent, which stand for 6 GB.
    expect(process.memoryUsage().rss - rss).toBeLessThan(50 * MIB);
  });

  it("heads of streams that are held are bounded together", async () => {
    const { client, refused } = await before();
    const large = { ...GET, ":path": "/hang", a: "x".repeat(8_000), b: "x".repeat(7_000) };
    client.send(repeat(60, (i) => head(2 * i + 1, large, true)));
    await evicted(client);
    expect(refused()["connection_headers"]).toBeGreaterThan(0);
  });

  it.each([
    ["that cannot be decompressed", Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff])],
    ["of 8,000 table sizes", Buffer.concat([Buffer.alloc(8_000, 0x20), block(GET)])],
  ])("a head %s ends the connection with COMPRESSION_ERROR", async (_, bytes) => {
    const { client, refused } = await before();
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, bytes));
    await evicted(client, COMPRESSION_ERROR);
    await expect.poll(() => refused()["http2_error"]).toBe(1);
  });

  it("C8 P22: a head that does not end is given up", { timeout: 15_000 }, async () => {
    const { client, refused } = await before({ limits: { headersTimeoutMs: 1_000 } });
    client.send(frame(HEADERS, END_STREAM, 1, block(GET)));
    await evicted(client);
    expect(refused()).toMatchObject({ head_timeout: 1 });
  });

  it("G17 P22: a client without SETTINGS is given up", { timeout: 15_000 }, async () => {
    const { port, refused } = await before({ limits: { handshakeTimeoutMs: 1_000 } });
    const { RawClient } = await import("../../http/test/support/raw-client.ts");
    const raw = await RawClient.to(port);
    raw.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    await raw.end(5_000);
    expect(refused()).toMatchObject({ handshake_timeout: 1 });
  });
});

describe("resets", () => {
  it.each([
    ["CANCEL", { ...GET, ":path": "/hang" }, true, CANCEL],
    // As if its body had ended with it: a request has no other end than END_STREAM.
    [
      "NO_ERROR where a length is there",
      { ...POST, ":path": "/hang", "content-length": "0" },
      false,
      NO_ERROR,
    ],
  ])(
    "V8: rapid reset by %s: the connection ends within the limit",
    async (_, fields, ends, code) => {
      const { client, refused, running, ran } = await before({ limits: { maxStreamResets: 200 } });
      for (let i = 0; i < 5_000 && !client.raw.closed; i++) {
        client.send(head(2 * i + 1, fields, ends), reset(2 * i + 1, code));
        if (i % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      await evicted(client);
      expect(refused()).toMatchObject({ stream_resets: 1 });
      // Work of streams that were reset has stopped.
      await expect.poll(running).toBe(0);
      expect(ran()).toBeLessThan(1_000);
    },
  );

  it("V9: MadeYouReset: streams that the proxy has to reset count as well", async () => {
    const { client, refused, running } = await before({ limits: { maxStreamResets: 50 } });
    for (let i = 0; i < 2_000 && !client.raw.closed; i++) {
      const id = 2 * i + 1;
      // A window of 2^31, which is an error of the stream, while its request is under way.
      client.send(
        head(id, { ...GET, ":path": "/hang" }, true),
        frame(WINDOW_UPDATE, 0, id, words(0)),
      );
      if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await evicted(client);
    expect(refused()).toMatchObject({ stream_resets: 1 });
    await expect.poll(running).toBe(0);
  });

  it("G4 P22: streams beyond the limit are refused, and those within it served", async () => {
    const { client } = await before({ limits: { maxConcurrentStreams: 2 } });
    client.send(
      repeat(5, (i) => head(2 * i + 1, { ...GET, ":path": i < 2 ? "/hang" : "/" }, true)),
    );
    await expect
      .poll(() =>
        client.frames
          .filter(({ type }) => type === RST_STREAM)
          .map(({ payload }) => payload.readUInt32BE(0)),
      )
      .toEqual([7, 7, 7]);
    client.send(reset(1, CANCEL));
    await stays(client, 11);
  });
});

describe("peers that do not read", () => {
  it(
    "G5 P22, H22 P22: a window of 0: nothing piles up, and the stream is given up",
    { timeout: 20_000 },
    async () => {
      const { client, refused, running } = await before({ limits: { writeStallTimeoutMs: 1_000 } });
      const rss = process.memoryUsage().rss;
      client.send(settings(4, 0));
      client.send(repeat(20, (i) => head(2 * i + 1, { ...GET, ":path": "/large" }, true)));
      await expect.poll(running).toBeGreaterThan(0);
      await expect
        .poll(() => client.frames.filter(({ type }) => type === RST_STREAM).length)
        .toBe(20);
      expect(
        client.frames.filter(({ type, payload }) => type === DATA && payload.length > 0),
      ).toEqual([]);
      expect(process.memoryUsage().rss - rss).toBeLessThan(400 * MIB); // the server's replies are in this process too
      expect(refused()).toMatchObject({ write_stall: 20 });
      await expect.poll(running).toBe(0);
      client.send(settings(4, 65_535));
      await stays(client, 101);
    },
  );

  it("H22 P22: a client that reads nothing at all is cut off", { timeout: 20_000 }, async () => {
    const { client, refused, connections } = await before({
      limits: { writeStallTimeoutMs: 1_000 },
    });
    client.raw.socket.pause();
    client.send(settings(4, 0x7fff_ffff), frame(WINDOW_UPDATE, 0, 0, words(0x7000_0000)));
    client.send(repeat(20, (i) => head(2 * i + 1, { ...GET, ":path": "/large" }, true)));
    await expect.poll(connections, { timeout: 15_000 }).toBe(0);
    expect(refused()).toMatchObject({ write_stall: 1 });
  });

  it("C9 P22: a body that does not come is given up with 408", { timeout: 15_000 }, async () => {
    const { client, refused, running } = await before({ limits: { bodyIdleTimeoutMs: 1_000 } });
    client.send(head(1, { ...POST, ":path": "/hang" }), data(1, "x"));
    const first = await client.until(({ id, type }) => id === 1 && type === HEADERS, "a reply");
    expect(first.payload.length).toBeGreaterThan(0);
    expect(refused()).toMatchObject({ body_timeout: 1 });
    await expect.poll(running).toBe(0);
    await stays(client);
  });

  it(
    "G12 P22: a connection that is old enough is asked to leave, and loses nothing",
    { timeout: 20_000 },
    async () => {
      const { client, refused } = await before({ limits: { maxConnectionAgeMs: 1_500 } });
      client.send(head(1, GET, true));
      await client.reply(1);
      const goaway = await client.until(({ type }) => type === GOAWAY, "GOAWAY");
      expect(goaway.payload.readUInt32BE(4)).toBe(0);
      // What crosses the first GOAWAY is served.
      client.send(head(3, GET, true));
      await client.reply(3);
      await client.raw.end(5_000);
      expect(refused()).toEqual({});
    },
  );

  it(
    "G1 P22: what crosses the second GOAWAY is dropped whatever it is, and what is in progress goes on",
    { timeout: 20_000 },
    async () => {
      const { client, running } = await before({ limits: { maxConnectionAgeMs: 1_500 } });
      client.send(head(1, { ...GET, ":path": "/hang" }, true));
      const goaways = (): readonly Frame[] => client.frames.filter(({ type }) => type === GOAWAY);
      await expect.poll(() => goaways().length, { timeout: 10_000 }).toBe(2);
      client.send(head(3, POST), data(3, "x"), frame(WINDOW_UPDATE, 0, 3, words(1)));
      client.send(reset(3, CANCEL), frame(PING, 0, 0, words(0, 7)));
      await client.until(({ type, flags }) => type === PING && flags === 1, "an answer to PING");
      expect(goaways()).toHaveLength(2);
      expect(running()).toBe(1);
    },
  );

  it("an idle connection is asked to leave", { timeout: 20_000 }, async () => {
    const { client } = await before({ limits: { keepAliveIdleMs: 1_000 } });
    client.send(head(1, GET, true));
    await client.reply(1);
    await evicted(client, 0);
  });
});

describe("a client that sends no more", () => {
  it("ends at once what can never become whole, and is answered what is", async () => {
    const { client, running, connections } = await before();
    client.send(head(1, { ...POST, ":path": "/hang" }), data(1, "a part"));
    await expect.poll(running).toBe(1);
    client.send(head(3, GET, true));
    client.raw.socket.end();
    await client.reply(3);
    await client.raw.end(5_000);
    await expect.poll(running).toBe(0);
    expect(connections()).toBe(0);
  });

  it("is noticed when it is gone altogether, although nothing is there to be sent to it", async () => {
    const { client, running, connections } = await before();
    client.send(head(1, { ...GET, ":path": "/hang" }, true));
    await expect.poll(running).toBe(1);
    client.raw.socket.destroy();
    await expect.poll(running).toBe(0);
    expect(connections()).toBe(0);
  });
});
