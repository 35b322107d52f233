/** What one HTTP/2 client may cost a server, at each limit, one above it, and far above it. */
import { once } from "node:events";
import type { RequestListener } from "node:http";
import { connect, type Http2ServerResponse } from "node:http2";
import { createMesh, type MeshServer, type ServerLimits } from "@inmesh/http";
import { describe, expect, it } from "vitest";
import { runBeside } from "./support/beside.ts";
import type { H2Client } from "./support/h2-client.ts";
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
  SETTINGS,
  settings,
  words,
  type Frame,
} from "./support/h2-peer.ts";
import { answerOk, h2To, start } from "./support/server.ts";
import { until } from "./wire.ts";

const REQUEST = { ":method": "GET", ":scheme": "http", ":path": "/", ":authority": "svc" };
const UPLOAD = { ...REQUEST, ":method": "POST" };
const CONTINUATION = 9;
const CANCEL = 8;
const REFUSED_STREAM = 7;
const ENHANCE_YOUR_CALM = 11;
const http2 = true;

/** GOAWAY with this code, and within a second and a bit the end of the connection. */
async function evicted(client: H2Client, code: number = ENHANCE_YOUR_CALM): Promise<void> {
  const goaway = await client.until(({ type }) => type === GOAWAY, "GOAWAY");
  expect(goaway.payload.readUInt32BE(4)).toBe(code);
  await client.raw.end(5_000);
}

/** It answers, and has not been asked to leave. */
async function stays(client: H2Client, id: number): Promise<void> {
  client.send(head(id, REQUEST, true));
  await client.reply(id);
  expect(client.frames.some(({ type }) => type === GOAWAY)).toBe(false);
}

/** No other client was harmed, and nothing is left behind. */
async function recovered(server: MeshServer): Promise<void> {
  await until(() => server.snapshot().connections === 0, 10_000);
  expect(server.snapshot()).toMatchObject({ sessions: 0, requestsInFlight: 0 });
  await stays(await h2To(server), 1);
}

/** A server that answers at once, and how often its handler ran. */
async function counting(limits: Partial<ServerLimits> = {}) {
  let ran = 0;
  const server = await start(
    (_request, response) => {
      ran++;
      response.end("ok");
    },
    { http2, limits },
  );
  return { server, ran: () => ran };
}

describe.concurrent("frames that cost an answer", () => {
  runBeside();
  it.each([
    [10, false],
    [11, true],
    [1_000, true],
  ])("%i pings in a burst: the connection is closed: %s", async (count, closed) => {
    const server = await start(answerOk, { http2 });
    const client = await h2To(server);
    client.send(...Array.from({ length: count }, (_, i) => frame(PING, 0, 0, words(0, i))));
    if (!closed) return stays(client, 1);
    await evicted(client);
    expect(server.snapshot().refused).toMatchObject({ pings: 1 });
    await recovered(server);
  });

  it("pings are forgotten, one a second", async () => {
    const server = await start(answerOk, { http2, limits: { maxPings: 1 } });
    const client = await h2To(server);
    for (let i = 0; i < 3; i++) {
      client.send(frame(PING, 0, 0, words(0, i)));
      await until(() => client.frames.filter(({ type }) => type === PING).length === i + 1);
      await new Promise((resolve) => setTimeout(resolve, 1_100));
    }
    await stays(client, 1);
  });

  it.each([
    [10, false],
    [11, true],
    [1_000, true],
  ])("%i SETTINGS in a burst: the connection is closed: %s", async (count, closed) => {
    const server = await start(answerOk, { http2 });
    const client = await h2To(server); // has said its first
    client.send(...Array.from({ length: count - 1 }, () => settings()));
    if (!closed) return stays(client, 1);
    await evicted(client);
    expect(server.snapshot().refused).toMatchObject({ settings: 1 });
    await recovered(server);
  });

  it.each([
    [100, false],
    [102, true],
    [5_000, true],
  ])("%i empty DATA frames: the connection is closed: %s", async (count, closed) => {
    const server = await start(answerOk, { http2 });
    const client = await h2To(server);
    client.send(head(1, UPLOAD), ...Array.from({ length: count }, () => data(1, "")));
    if (!closed) {
      client.send(data(1, "x", true));
      await client.reply(1);
      return stays(client, 3);
    }
    await client.raw.end();
    expect(server.snapshot().refused).toEqual({ http2_error: 1 });
    await recovered(server);
  });
});

describe.concurrent("heads", () => {
  runBeside();
  /** A HEADERS frame and `count` CONTINUATIONs. */
  function split(count: number): Buffer[] {
    const whole = block({ ...REQUEST, a: "1".repeat(count) });
    const first = whole.length - count;
    return [
      frame(HEADERS, END_STREAM, 1, whole.subarray(0, first)),
      ...Array.from({ length: count }, (_, i) =>
        frame(
          CONTINUATION,
          i === count - 1 ? END_HEADERS : 0,
          1,
          whole.subarray(first + i, first + i + 1),
        ),
      ),
    ];
  }

  it.each([
    [8, false],
    [9, true],
    [1_000, true],
  ])("%i CONTINUATION frames: the connection is closed: %s", async (count, closed) => {
    const { server, ran } = await counting();
    const client = await h2To(server);
    client.send(...split(count));
    if (!closed) {
      await client.reply(1);
      return stays(client, 3);
    }
    await client.raw.end();
    expect(ran()).toBe(0);
    await recovered(server);
  });

  it.each([
    [100, "431 above"],
    [101, "431 above"],
    [128, "431 above"],
    [129, "reset"],
    [400, "reset"],
  ])("%i fields, cookie crumbs among them: %s", async (count, what) => {
    const server = await start(answerOk, { http2 });
    const client = await h2To(server);
    const crumbs = Buffer.concat(
      Array.from({ length: count - 4 }, (_, i) => block({ cookie: `c${i % 10}=1` })),
    );
    client.send(
      frame(HEADERS, END_HEADERS | END_STREAM, 1, Buffer.concat([block(REQUEST), crumbs])),
    );
    if (what === "reset") {
      const got = await client.until(({ type }) => type === RST_STREAM, "a reset");
      expect(got.payload.readUInt32BE(0)).toBe(ENHANCE_YOUR_CALM);
    } else await client.reply(1);
    const { refused } = server.snapshot();
    expect(refused).toEqual(count > 100 && count <= 128 ? { too_many_headers: 1 } : {});
    await stays(client, 3);
  });

  /** A head of so many bytes, as HTTP/2 counts: names, values, and 32 for each field. */
  function headOf(bytes: number): Buffer[] {
    const fields: Record<string, string> = { ...REQUEST };
    const size = (): number =>
      Object.entries(fields).reduce(
        (sum, [name, value]) => sum + name.length + value.length + 32,
        0,
      );
    for (let i = 0; size() < bytes; i++) {
      const name = `a${i}`;
      fields[name] = "1".repeat(Math.max(0, Math.min(4_000, bytes - size() - name.length - 32)));
    }
    const whole = block(fields);
    const frames: Buffer[] = [];
    for (let at = 0; at < whole.length; at += 16_000) {
      const end = at + 16_000 >= whole.length ? END_HEADERS : 0;
      const [type, flags] = at === 0 ? [HEADERS, END_STREAM | end] : [CONTINUATION, end];
      frames.push(frame(type, flags, 1, whole.subarray(at, at + 16_000)));
    }
    return frames;
  }

  it.each([
    [16_384, true],
    [16_385, false],
    [50_000, false],
    [100_000, false],
  ])(
    "a head of %i bytes: served: %s, though the limit is not acknowledged",
    async (bytes, isServed) => {
      const { server, ran } = await counting();
      const client = await h2To(server);
      client.send(...headOf(bytes));
      await client.reply(1);
      expect(ran()).toBe(isServed ? 1 : 0);
      expect(server.snapshot().refused).toEqual(isServed ? {} : { header_too_large: 1 });
      await stays(client, 3);
    },
  );

  it.each([
    [3, 3],
    [4, 3],
    [90, 3],
  ])("%i heads of 10 kB in progress where 3 fit: %i served", async (sent, served) => {
    const held: (() => void)[] = [];
    const server = await start((_request, response) => void held.push(() => response.end("ok")), {
      http2,
      limits: { maxConnectionHeaderBytes: 30_500 },
    });
    const client = await h2To(server);
    const value = "1".repeat(5_000);
    for (let i = 0; i < sent; i++) {
      client.send(head(2 * i + 1, { ...REQUEST, a: value, b: value }, true));
    }
    await until(() => held.length === served);
    if (sent === served) {
      for (const end of held) end();
      await client.reply(5);
      expect(server.snapshot().refused).toEqual({});
      return;
    }
    await evicted(client);
    expect(held).toHaveLength(served);
    // What came in one piece with the first that was too many is refused as well.
    expect(server.snapshot().refused["connection_headers"]).toBeGreaterThan(0);
    await until(() => server.snapshot().connections === 0);
    expect(server.snapshot().requestsInFlight).toBe(0);
  });

  it.each([
    [2, 2],
    [3, 2],
    [50, 2],
  ])("G4 LS: %i streams where 2 may be: %i served, the rest unprocessed", async (sent, served) => {
    const held: (() => void)[] = [];
    const server = await start((_request, response) => void held.push(() => response.end("ok")), {
      http2,
      limits: { maxConcurrentStreams: 2 },
    });
    // A client that has not acknowledged the limit cannot know it: its streams are refused.
    const client = await h2To(server);
    for (let i = 0; i < sent; i++) client.send(head(2 * i + 1, REQUEST, true));
    const resets = (): Frame[] => client.frames.filter(({ type }) => type === RST_STREAM);
    await until(() => held.length === served && resets().length === sent - served);
    for (const { payload } of resets()) expect(payload.readUInt32BE(0)).toBe(REFUSED_STREAM);
    for (const end of held) end();
    await client.reply(3);
    // One that has acknowledged it breaks it: the connection ends.
    const other = await h2To(server);
    await other.until(({ type }) => type === SETTINGS, "the settings");
    other.send(frame(SETTINGS, 1, 0));
    for (let i = 0; i < sent; i++) other.send(head(2 * i + 1, REQUEST, true));
    await until(() => held.length >= 2 * served);
    if (sent > served) await other.raw.end();
    expect(held).toHaveLength(2 * served);
  });
});

describe.concurrent("resets", () => {
  runBeside();
  /** Opens streams one by one, and resets every one in `every`. Answers how many were opened. */
  async function streams(
    server: MeshServer,
    client: H2Client,
    count: number,
    resets: (n: number) => boolean,
    kill: (id: number) => Buffer = (id) => reset(id, CANCEL),
  ): Promise<number> {
    let opened = 0;
    for (; opened < count && !client.raw.closed; opened++) {
      const id = 2 * opened + 1;
      if (client.frames.some(({ type }) => type === GOAWAY)) break;
      client.send(head(id, { ...REQUEST, ":path": resets(opened) ? "/hang" : "/" }, true));
      if (!resets(opened)) await client.reply(id);
      else {
        await until(() => server.snapshot().requestsInFlight === 1 || client.raw.closed);
        client.send(kill(id));
        await until(() => server.snapshot().requestsInFlight === 0);
      }
    }
    return opened;
  }

  const some = (limits: object = {}): Promise<MeshServer> =>
    start(
      (request, response) => {
        if (request.url === "/") response.end("ok");
      },
      { http2, limits },
    );

  it("more than maxStreamResets, but half of 100 streams: served on; one more than half: closed", async () => {
    const server = await some({ maxStreamResets: 20 });
    const client = await h2To(server);
    expect(await streams(server, client, 100, (n) => n % 2 === 1)).toBe(100);
    expect(server.snapshot().refused).toEqual({});
    client.send(head(201, { ...REQUEST, ":path": "/hang" }, true));
    await until(() => server.snapshot().requestsInFlight === 1);
    client.send(reset(201, CANCEL));
    await evicted(client);
    expect(server.snapshot().refused).toEqual({ stream_resets: 1 });
    await recovered(server);
  });

  it("20 resets of 20 streams where 20 may be: served on; more: closed", async () => {
    const server = await some({ maxStreamResets: 20 });
    const client = await h2To(server);
    expect(await streams(server, client, 20, () => true)).toBe(20);
    expect(server.snapshot().refused).toEqual({});
    for (let id = 41; id < 61; id += 2) {
      client.send(head(id, { ...REQUEST, ":path": "/hang" }, true), reset(id, CANCEL));
    }
    await evicted(client);
    expect(server.snapshot().refused).toEqual({ stream_resets: 1 });
  });

  it("R9 LS: requests with a body whose reply is whole are no resets, however many", async () => {
    const ends: string[] = [];
    const mesh = createMesh({ env: {} });
    mesh.observe({ servedEnded: ({ outcome }) => void ends.push(outcome) });
    const handler: RequestListener = (request, response) => {
      request.resume();
      request.on("end", () => response.end("ok"));
    };
    const server = await start(handler, { http2, limits: { maxStreamResets: 5 }, mesh });
    const session = connect(`http://127.0.0.1:${server.address()!.port}`);
    for (let i = 0; i < 100; i++) {
      const stream = session.request({ ":method": "POST", ":path": "/" });
      stream.resume();
      stream.end("x");
      await once(stream, "close");
      expect(stream.rstCode).toBe(0);
    }
    await until(() => ends.length === 100);
    session.destroy();
    await mesh.close(0);
    expect(new Set(ends)).toEqual(new Set(["success"]));
    expect(server.snapshot().refused).toEqual({});
  });

  it("a code that means no error is a reset all the same", async () => {
    const server = await some({ maxStreamResets: 20 });
    const client = await h2To(server);
    await streams(
      server,
      client,
      60,
      () => true,
      (id) => reset(id, 0),
    );
    await evicted(client);
    expect(server.snapshot().refused).toEqual({ stream_resets: 1 });
  });

  it("V9: so are resets that the client makes the server send", async () => {
    const server = await some({ maxStreamResets: 20 });
    const client = await h2To(server);
    const owing = { ...UPLOAD, ":path": "/hang", "content-length": "1" };
    // One is forgotten in 1.5 s, which a busy machine may take for 21.
    for (let i = 0; i < 60 && server.snapshot().refused["stream_resets"] !== 1; i++) {
      client.send(head(2 * i + 1, owing));
      await until(() => server.snapshot().requestsInFlight === 1);
      client.send(data(2 * i + 1, "", true)); // shorter than it said
      await until(() => server.snapshot().requestsInFlight === 0);
    }
    await evicted(client);
    expect(server.snapshot().refused).toEqual({ stream_resets: 1 });
    await recovered(server);
  });

  it.each([
    [20, 0.5, undefined],
    [60, 0.5, "stream_resets"],
    [1_000, 0.5, "stream_resets"],
    [300, 1, undefined],
    [1_000, 1, "http2_error"],
  ] as const)(
    "%i resets in a burst where 40 may be, and of Node's count 400, ratio %d: closed for %s",
    async (count, maxResetRatio, reason) => {
      const server = await some({ maxResetRatio, maxStreamResets: 40 });
      const client = await h2To(server);
      for (let i = 0; i < count && !client.raw.closed; i++) {
        client.send(
          head(2 * i + 1, { ...REQUEST, ":path": "/hang" }, true),
          reset(2 * i + 1, CANCEL),
        );
      }
      if (reason === undefined) return stays(client, 2 * count + 1);
      await client.raw.end();
      expect(server.snapshot().refused[reason]).toBe(1);
      await recovered(server);
    },
  );

  it("once the reply has begun, a client may have had enough of it", async () => {
    const server = await start((_request, response) => void response.write("some"), { http2 });
    const client = await h2To(server);
    for (let i = 0; i < 100; i++) {
      const id = 2 * i + 1;
      client.send(head(id, REQUEST, true));
      await client.until((one) => one.type === DATA && one.id === id, "some of the reply");
      client.send(reset(id, CANCEL));
      await until(() => server.snapshot().requestsInFlight === 0);
    }
    expect(server.snapshot().refused).toEqual({});
    client.send(frame(PING, 0, 0, words(0, 0)));
    await client.until(({ type }) => type === PING, "an answer");
  });

  it("a client that has a deadline and gives up after a second is not asked to leave", async () => {
    const server = await some();
    const client = await h2To(server);
    const ids = Array.from({ length: 60 }, (_, n) => 2 * n + 1);
    const waits = { ...REQUEST, ":path": "/hang", "x-mesh-timeout-ms": "9000" };
    for (const id of ids) client.send(head(id, waits, true));
    await until(() => server.snapshot().requestsInFlight === 60);
    await new Promise((resolve) => setTimeout(resolve, 1_050));
    client.send(...ids.map((id) => reset(id, CANCEL)));
    await until(() => server.snapshot().requestsInFlight === 0);
    await stays(client, 121);
    expect(server.snapshot().refused).toEqual({});
  });

  it.each(["end", "resetAndDestroy", "destroy"] as const)(
    "a client that dies amid 80 requests has not reset them: %s",
    async (way) => {
      const server = await some();
      const client = await h2To(server);
      for (let n = 0; n < 80; n++) {
        client.send(head(2 * n + 1, { ...REQUEST, ":path": "/hang" }, true));
      }
      await until(() => server.snapshot().requestsInFlight === 80);
      client.raw.socket[way]();
      await recovered(server);
      expect(server.snapshot().refused).toEqual({});
    },
  );

  const ways: Record<string, (response: Http2ServerResponse) => void> = {
    "response.destroy": (response) => response.destroy(new Error("no")),
    "stream.close": ({ stream }) => stream.close(REFUSED_STREAM),
    "stream.close, later": ({ stream }) => void setImmediate(() => stream.close(CANCEL)),
    "stream.destroy": ({ stream }) => stream.destroy(),
  };
  it.each(Object.entries(ways))(
    "what the handler resets is not the client's: %s",
    async (_, kill) => {
      const server = await start(
        (request, response) => {
          if (request.url === "/") response.end("ok");
          else kill(response as unknown as Http2ServerResponse);
        },
        { http2 },
      );
      const client = await h2To(server);
      for (let i = 0; i < 60; i++) {
        const id = 2 * i + 1;
        client.send(head(id, { ...REQUEST, ":path": "/hang" }, true));
        await client.until((one) => one.type === RST_STREAM && one.id === id, "the reset");
      }
      await stays(client, 121);
      expect(server.snapshot()).toMatchObject({ refused: {}, requestsInFlight: 0 });
    },
  );

  it("maxResetRatio 1: any", async () => {
    const server = await some({ maxResetRatio: 1 });
    const client = await h2To(server);
    expect(await streams(server, client, 120, () => true)).toBe(120);
    await stays(client, 241);
  });
});

describe.concurrent("glitches", () => {
  runBeside();
  it.each([
    [5, false],
    [6, true],
    [60, true],
  ])(
    "%i broken requests where 5 are tolerated: the connection is closed: %s",
    async (sent, closed) => {
      const { server, ran } = await counting({ maxGlitches: 5 });
      const client = await h2To(server);
      for (let i = 0; i < sent; i++) {
        client.send(head(2 * i + 1, { ...REQUEST, ":path": "/a#b" }, true));
      }
      if (!closed) {
        await stays(client, 11);
        expect(server.snapshot().refused).toEqual({ bad_target: 5 });
        return;
      }
      await evicted(client);
      expect(ran()).toBe(0);
      expect(server.snapshot().refused).toMatchObject({ glitches: 1 });
    },
  );

  it("anomalies that are dropped count too", async () => {
    const server = await start(answerOk, { http2, limits: { maxGlitches: 2 } });
    const client = await h2To(server);
    for (const id of [1, 3]) {
      client.send(head(id, { ...REQUEST, traceparent: "x" }, true));
      await client.reply(id);
    }
    await stays(client, 5);
    client.send(head(7, { ...REQUEST, traceparent: "x" }, true));
    await evicted(client);
    expect(server.snapshot().refused).toEqual({ traceparent: 3, glitches: 1 });
  });
});

describe.concurrent("connections that ask for nothing", () => {
  runBeside();
  it("no stream within headersTimeoutMs: GOAWAY without an error, and the end", async () => {
    const server = await start(answerOk, { http2, limits: { headersTimeoutMs: 1_000 } });
    const [silent, used] = [await h2To(server), await h2To(server)];
    used.send(head(1, REQUEST, true));
    await used.reply(1);
    await evicted(silent, 0);
    await stays(used, 3);
  });

  it("none in progress for keepAliveIdleMs: the same; a stream that hangs is no silence", async () => {
    const server = await start(
      (request, response) => {
        if (request.url === "/") response.end("ok");
      },
      { http2, limits: { keepAliveIdleMs: 1_000 } },
    );
    const [idle, busy] = [await h2To(server), await h2To(server)];
    idle.send(head(1, REQUEST, true));
    busy.send(head(1, { ...REQUEST, ":path": "/hang" }, true));
    await idle.reply(1);
    await evicted(idle, 0);
    await stays(busy, 3);
  });
});
