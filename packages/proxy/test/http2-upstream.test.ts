/** Servers of HTTP/2 that break its rules, or die at every moment: what their clients see, and what is sent again. */
import { describe, expect, it } from "vitest";
import {
  answerAll,
  block,
  DATA,
  data,
  END_HEADERS,
  END_STREAM,
  frame,
  goaway,
  h2Peer,
  head,
  HEADERS,
  oddPeer,
  ok,
  PREFACE,
  reset,
  RST_STREAM,
  settings,
  takeFrames,
  words,
  WINDOW_UPDATE,
  type Frame,
  type H2Connection,
} from "../../http/test/support/h2-peer.ts";
import { FLOODS, repeat, TOO_MANY } from "./support/floods.ts";
import { ask2, client2, open2, origin2, replyOf } from "./support/http2.ts";
import { exchangeRaw, proxied, rawClient, repliesIn } from "./support/proxied.ts";

const OK = { ":status": "200" };

/** One attempt alone, so that each fault is seen. */
async function before(script: (connection: H2Connection) => Promise<void>, more: object = {}) {
  const peer = await h2Peer(script);
  const { port, mesh } = await proxied(
    {
      orders: {
        http2: true,
        discovery: { static: [peer.address] },
        retry: { attempts: 1 },
        breaker: { consecutiveFailures: 1_000 },
        ...more,
      },
    },
    { spoken: "http2" },
  );
  return { session: client2(port), peer, mesh, port };
}

/** Answers its first request with these frames, each list in a packet of its own, and everything after it well. */
function once(...packets: ((id: number) => Buffer[])[]) {
  return async (connection: H2Connection): Promise<void> => {
    await connection.open();
    const id = await connection.request();
    if (connection.number !== 1) await connection.write(ok(id));
    else {
      for (const [n, frames] of packets.entries()) {
        if (n > 0) await new Promise((resolve) => setTimeout(resolve, 100));
        await connection.write(...frames(id));
      }
    }
    await answerAll(connection);
  };
}

/** A head with several of `content-length`. */
function lengths(id: number, ...all: readonly string[]): Buffer {
  const fields = all.map((length) => block({ "content-length": length }));
  return frame(HEADERS, END_HEADERS, id, Buffer.concat([block(OK), ...fields]));
}
describe("G16 P12: a reply that is broken off", () => {
  it("in the packet of its head is 502 to a client over HTTP/1, whose connection stays", async () => {
    const peer = await h2Peer(once((id) => [head(id, OK), data(id, "some"), reset(id, 2)]));
    const { port } = await proxied({
      orders: {
        http2: true,
        discovery: { static: [peer.address] },
        retry: { attempts: 1 },
      },
    });
    const bytes = "GET / HTTP/1.1\r\nHost: orders\r\n\r\n".repeat(2);
    const { text } = await exchangeRaw(port, bytes, { until: (all) => all.includes(" 200 ") });
    const [bad, good] = repliesIn(text);
    expect(bad).toMatchObject({ status: 502, body: "reset_mid_response\n" });
    expect(good!.status).toBe(200);
  });
});

describe("G16 P22: replies that are none", () => {
  it.each<[string, (id: number) => Buffer[]]>([
    ["no :status", (id) => [head(id, { "x-a": "1" }, true)]],
    ["a :status of two digits", (id) => [head(id, { ":status": "20" }, true)]],
    ["a :status beyond 599", (id) => [head(id, { ":status": "1000" }, true)]],
    ["101", (id) => [head(id, { ":status": "101" })]],
    ["an interim reply that ends the stream", (id) => [head(id, { ":status": "103" }, true)]],
    [
      "two :status",
      (id) => [frame(HEADERS, END_HEADERS | END_STREAM, id, Buffer.concat([block(OK), block(OK)]))],
    ],
    ["a pseudo-header of requests", (id) => [head(id, { ...OK, ":path": "/" }, true)]],
    ["a name in upper case", (id) => [head(id, { ...OK, "X-A": "1" }, true)]],
    ["CR LF in a value", (id) => [head(id, { ...OK, "x-a": "1\r\nx: y" }, true)]],
    ["transfer-encoding", (id) => [head(id, { ...OK, "transfer-encoding": "chunked" })]],
    ["connection", (id) => [head(id, { ...OK, connection: "close" }, true)]],
    ["two lengths", (id) => [lengths(id, "1", "2"), data(id, "x", true)]],
    ["two lengths that are equal", (id) => [lengths(id, "1", "1"), data(id, "x", true)]],
    ["a length without a body", (id) => [head(id, { ...OK, "content-length": "1" }, true)]],
    ["DATA before a head", (id) => [data(id, "x")]],
    [
      "PUSH_PROMISE",
      (id) => [frame(5, END_HEADERS, id, Buffer.concat([words(2), block({ ":method": "GET" })]))],
    ],
    [
      "a head that cannot be decompressed",
      (id) => [frame(HEADERS, END_HEADERS, id, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff]))],
    ],
    [
      "padding longer than its frame",
      (id) => [frame(HEADERS, END_HEADERS | 8, id, Buffer.from([200, 0x88]))],
    ],
    ["a frame of 16,385 bytes", (id) => [frame(0, 0, id, Buffer.alloc(16_385))]],
    ["a window beyond 2^31-1", () => [frame(WINDOW_UPDATE, 0, 0, words(0x7fff_ffff))]],
    [
      "201 fields",
      (id) => [
        frame(
          HEADERS,
          END_HEADERS | END_STREAM,
          id,
          Buffer.concat([block(OK), ...Array.from({ length: 200 }, () => block({ a: "1" }))]),
        ),
      ],
    ],
  ])("%s: 502, and the next request is served", async (_, frames) => {
    const { session } = await before(once(frames));
    const bad = await ask2(session);
    expect(bad.headers[":status"]).toBe(502);
    const good = await ask2(session);
    expect(good.headers[":status"]).toBe(200);
  });

  describe.each<[string, (id: number) => Buffer[]]>([
    [
      "a body longer than its length",
      (id) => [head(id, { ...OK, "content-length": "1" }), data(id, "ab", true)],
    ],
    [
      "a body shorter than its length",
      (id) => [head(id, { ...OK, "content-length": "3" }), data(id, "ab", true)],
    ],
    ["a reset behind the head", (id) => [head(id, OK), data(id, "part"), reset(id, 2)]],
    [
      "a reset in the place of the end, without a length",
      (id) => [head(id, OK), data(id, "part"), reset(id, 0)],
    ],
    [
      "trailers with a pseudo-header",
      (id) => [head(id, OK), data(id, "part"), head(id, { ":status": "200" }, true)],
    ],
  ])("%s", (_, frames) => {
    it("in the packet of its head: 502", async () => {
      const { session } = await before(once(frames));
      expect((await ask2(session)).headers[":status"]).toBe(502);
      expect((await ask2(session)).headers[":status"]).toBe(200);
    });

    it("in a later packet: the client's stream is reset, too", async () => {
      const { session } = await before(
        once(
          (id) => frames(id).slice(0, 1),
          (id) => frames(id).slice(1),
        ),
      );
      const bad = await ask2(session);
      expect(bad.headers[":status"]).toBe(200);
      expect(bad.code).not.toBe(0);
      expect((await ask2(session)).headers[":status"]).toBe(200);
    });
  });

  it.each([
    ["at once", true],
    ["once its body has gone on", false],
  ])(
    "G15 P22: a reset in the place of the end, %s, with a length and all of it: whole, and no answer to it",
    async (_, atOnce) => {
      const arrived = Promise.withResolvers<void>();
      let seen: readonly Frame[] = [];
      const { session, peer } = await before(async (connection) => {
        await connection.open();
        seen = connection.frames;
        const id = await connection.request();
        const whole = [head(id, { ...OK, "content-length": "4" }), data(id, "full")];
        if (!atOnce) {
          await connection.write(...whole.splice(0));
          await arrived.promise;
        }
        await connection.write(...whole, reset(id, 0));
        await answerAll(connection);
      });
      // Its upload is not over.
      const stream = open2(session, { ":method": "POST" });
      stream.on("data", () => arrived.resolve());
      const reply = replyOf(stream);
      stream.write("a part");
      const { body, code } = await reply;
      expect([String(body), code]).toEqual(["full", 0]);
      expect((await ask2(session)).headers[":status"]).toBe(200);
      expect(seen.filter(({ type }) => type === RST_STREAM)).toEqual([]);
      expect(peer.connections).toBe(1);
    },
  );

  it("H4 P22: more than 32 interim replies are too many", async () => {
    const { session } = await before(
      once((id) => [...Array.from({ length: 33 }, () => head(id, { ":status": "103" })), ok(id)]),
    );
    const reply = await ask2(session);
    expect(reply.headers[":status"]).toBe(502);
    expect(reply.interim).toHaveLength(32);
  });
});

describe("what was not processed is sent again, what may have been is not", () => {
  it("G1 P22: a GOAWAY below the stream: to another connection, a POST as well", async () => {
    const { session, peer } = await before(
      async (connection) => {
        await connection.open();
        const id = await connection.request();
        if (connection.number === 1) await connection.write(goaway(0, 0));
        else await connection.write(ok(id));
        await answerAll(connection);
      },
      { retry: { attempts: 2 } },
    );
    const reply = await ask2(session, { ":method": "POST" }, "x");
    expect(String(reply.body)).toBe("ok");
    expect(peer.connections).toBe(2);
  });

  it("G3 P22: INTERNAL_ERROR before a reply: a POST is not sent again", async () => {
    const { session } = await before(
      once((id) => [reset(id, 2)]),
      { retry: { attempts: 2 } },
    );
    const reply = await ask2(session, { ":method": "POST" }, "x");
    expect(reply.headers[":status"]).toBe(502);
  });

  it("C15 P22, G17 P22: a server without SETTINGS, and one that speaks HTTP/1, are 502", async () => {
    const silent = await before(async () => {}, { timeouts: { connect: "300ms" } });
    expect((await ask2(silent.session)).headers[":status"]).toBe(502);
    const wrong = await before(async ({ raw }) => {
      await raw.write("HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    expect((await ask2(wrong.session)).headers[":status"]).toBe(502);
  });
});

it("uploads that their server does not take leave the window of the client's connection as it was", async () => {
  const initialWindowSize = 4;
  const full = await h2Peer(async (connection) => {
    await connection.open(settings(initialWindowSize, 0));
    for (;;) {
      const id = await connection.request();
      // Until the client has sent all of the body, of which the proxy holds what it has no room for.
      await connection.raw.pause(20);
      await connection.write(head(id, { ":status": "507" }, true));
    }
  });
  const echo = await origin2((stream) => {
    let bytes = 0;
    stream.on("data", (chunk: Buffer) => (bytes += chunk.length));
    stream.on("end", () => {
      if (stream.destroyed) return;
      stream.respond();
      stream.end(String(bytes));
    });
  });
  const { port } = await proxied(
    {
      full: { http2: true, discovery: { static: [full.address] } },
      orders: { http2: true, discovery: { static: [echo.address] } },
    },
    { spoken: "http2" },
  );
  const session = client2(port);
  const body = Buffer.alloc(120_000, "x");
  // Of each some 50 KB are held when its reply comes; the window of a connection is a megabyte.
  for (let i = 0; i < 40; i++) {
    const reply = await ask2(session, { ":method": "POST", ":authority": "full" }, body);
    expect(reply.headers[":status"]).toBe(507);
  }
  expect(String((await ask2(session, { ":method": "POST" }, body)).body)).toBe("120000");
});

it("a reply that is whole while the upload still runs arrives, although its server closes and its client reads slowly", async () => {
  const { port } = await before(async (connection) => {
    await connection.open();
    const id = await connection.request();
    const body = [data(id, Buffer.alloc(16_000, "x")), data(id, "end", true)];
    await connection.write(head(id, OK), ...body);
    connection.raw.fin();
  });
  const client = await rawClient(port);
  const frames: Frame[] = [];
  let rest: Buffer = Buffer.alloc(0);
  client.on("data", (chunk: Buffer) => {
    rest = takeFrames(Buffer.concat([rest, chunk]), (one) => frames.push(one));
  });
  const ask = { ":method": "POST", ":scheme": "http", ":path": "/", ":authority": "orders" };
  const initialWindowSize = 4;
  // A client that has no window for the body yet, and whose own body begins, and does not end.
  client.write(
    Buffer.concat([PREFACE, settings(initialWindowSize, 0), head(1, ask), data(1, "a")]),
  );
  await expect.poll(() => frames.some(({ type }) => type === HEADERS)).toBe(true);
  await new Promise((resolve) => setTimeout(resolve, 200));
  client.write(settings(initialWindowSize, 65_535));
  const ofStream = (): Frame[] =>
    frames.filter(({ id, type }) => id === 1 && type !== WINDOW_UPDATE);
  await expect.poll(() => ofStream().at(-1)?.type).toBe(RST_STREAM);
  const body = Buffer.concat(
    ofStream().flatMap(({ type, payload }) => (type === DATA ? [payload] : [])),
  );
  expect([body.length, String(body.subarray(-3))]).toEqual([16_003, "end"]);
  // No error: what the client still has to send is not wanted.
  expect(ofStream().at(-1)!.payload.readUInt32BE(0)).toBe(0);
});

describe("servers that are unusual, or flood", () => {
  it("G13 P22: PRIORITY, unknown frames and settings, 50 ORIGIN and ALTSVC: ignored", async () => {
    const peer = await oddPeer(ok, answerAll);
    const { port } = await proxied(
      { orders: { http2: true, discovery: { static: [peer.address] } } },
      { spoken: "http2" },
    );
    const session = client2(port);
    expect(String((await ask2(session)).body)).toBe("ok");
    expect(String((await ask2(session)).body)).toBe("ok");
    expect(peer.connections).toBe(1);
  });

  it.each(FLOODS)("$name: $few are passed over, and the request is answered", async (flood) => {
    const { session, peer } = await before(once((id) => [repeat(flood.few, flood.make), ok(id)]));
    for (let i = 0; i < 2; i++) expect((await ask2(session)).headers[":status"]).toBe(200);
    expect(peer.connections).toBe(1);
  });

  it.each<[string, (id: number) => Buffer, (i: number, id: number) => Buffer]>([
    ...FLOODS.map(
      (one) => [one.name, replied, one.make] as [string, typeof replied, typeof one.make],
    ),
    ["empty DATA", replied, (_, id) => data(id, "")],
    [
      "CONTINUATION",
      (id) => frame(HEADERS, 0, id, block(OK)),
      (_, id) => frame(9, 0, id, Buffer.from([0x82])),
    ],
  ])(
    "a flood of %s ends its connection, and the next request has another",
    async (_, begin, make) => {
      const { session, peer } = await before(
        once((id) => [begin(id), repeat(TOO_MANY, (i) => make(i, id))]),
      );
      const bad = await ask2(session);
      expect(bad.headers[":status"] === 502 || bad.code !== 0).toBe(true);
      expect((await ask2(session)).headers[":status"]).toBe(200);
      expect(peer.connections).toBe(2);
    },
  );
});

function replied(id: number): Buffer {
  return head(id, OK);
}
