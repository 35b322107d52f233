/** HTTP/2 frames no client should send, byte by byte, to the server half. */
import { connect } from "node:http2";
import type { IncomingMessage, RequestListener } from "node:http";
import { once } from "node:events";
import { meshServer, REFUSALS, type MeshServer } from "@inmesh/http";
import { describe, expect, it, onTestFinished } from "vitest";
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
  RST_STREAM,
  SETTINGS,
  settings,
  WINDOW_UPDATE,
  words,
} from "./support/h2-peer.ts";
import { H2Client } from "./support/h2-client.ts";
import { until } from "./wire.ts";

const PRIORITY = 2;
const CONTINUATION = 9;
const ALTSVC = 10;
const ORIGIN = 12;
const REQUEST = { ":method": "GET", ":scheme": "http", ":path": "/", ":authority": "svc" };
const UPLOAD = { ...REQUEST, ":method": "POST" };
interface Started {
  readonly server: MeshServer;
  readonly served: string[];
  client(): Promise<H2Client>;
}

async function start(): Promise<Started> {
  const served: string[] = [];
  const handler: RequestListener = (request, response) => {
    served.push(request.url!);
    request.on("error", () => {});
    request.resume().on("end", () => response.end("ok"));
  };
  const server = meshServer(handler, { http2: true, discoveryWaitMs: 0 });
  const { port } = await server.listen(0, "127.0.0.1");
  onTestFinished(() => server.close(0));
  return {
    server,
    served,
    async client() {
      return H2Client.to(port);
    },
  };
}

/** Another client is served, so nothing but that connection was harmed. */
async function servesOthers({ server }: Started): Promise<void> {
  const session = connect(`http://127.0.0.1:${server.address()!.port}`);
  const stream = session.request({ ":path": "/other" });
  const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
  expect(headers[":status"]).toBe(200);
  session.destroy();
}

/** Illegal for the connection: GOAWAY with an error, and the end. */
const CONNECTION: readonly [string, readonly Buffer[]][] = [
  ["DATA before HEADERS", [data(1, "x", true)]],
  ["HEADERS on an even stream", [head(2, REQUEST, true)]],
  ["HEADERS on stream 0", [head(0, REQUEST, true)]],
  ["padding longer than the frame", [head(1, UPLOAD), frame(DATA, 8, 1, Buffer.from([9, 1, 2]))]],
  ["a frame above the frame size", [head(1, UPLOAD), frame(DATA, 0, 1, Buffer.alloc(16_385))]],
  ["SETTINGS of seven bytes", [frame(SETTINGS, 0, 0, Buffer.alloc(7))]],
  ["SETTINGS on a stream", [frame(SETTINGS, 0, 1, Buffer.alloc(6))]],
  ["an acknowledgement with content", [frame(SETTINGS, 1, 0, Buffer.alloc(6))]],
  ["PING of seven bytes", [frame(PING, 0, 0, Buffer.alloc(7))]],
  ["a window that overflows", [frame(WINDOW_UPDATE, 0, 0, words(0x7fffffff))]],
  ["WINDOW_UPDATE of nothing on the connection", [frame(WINDOW_UPDATE, 0, 0, words(0))]],
  ["RST_STREAM of an idle stream", [frame(RST_STREAM, 0, 7, words(8))]],
  ["CONTINUATION of nothing", [frame(CONTINUATION, END_HEADERS, 1, block(REQUEST))]],
  ["DATA between HEADERS and CONTINUATION", [frame(HEADERS, 0, 1, block(REQUEST)), data(1, "x")]],
  [
    "a header block that cannot be unpacked",
    [
      frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
      ),
    ],
  ],
  [
    "PUSH_PROMISE from a client",
    [frame(5, END_HEADERS, 1, Buffer.concat([words(2), block(REQUEST)]))],
  ],
];

/** Illegal for a stream: reset, and the connection goes on. */
const STREAM: readonly [string, Record<string, string>][] = [
  ["an upper-case field", { ...REQUEST, "X-A": "1" }],
  ["no path", { ":method": "GET", ":scheme": "http", ":authority": "svc" }],
  ["an empty path", { ...REQUEST, ":path": "" }],
  ["no method", { ":scheme": "http", ":path": "/", ":authority": "svc" }],
  ["no scheme", { ":method": "GET", ":path": "/", ":authority": "svc" }],
  ["a pseudo-header that is none", { ...REQUEST, ":status": "200" }],
  ["a pseudo-header behind a field", { a: "1", ...REQUEST }],
  ["connection fields of HTTP/1", { ...REQUEST, connection: "close" }],
  ["Transfer-Encoding", { ...REQUEST, "transfer-encoding": "chunked" }],
  ["a length that is not the body's", { ...UPLOAD, "content-length": "5" }],
  ["a path without a slash", { ...REQUEST, ":path": "a" }],
  ["a line break in the path", { ...REQUEST, ":path": "/\r\nb: 1" }],
  ["a space in the path", { ...REQUEST, ":path": "/a b" }],
  ["a method that is none", { ...REQUEST, ":method": "G ET" }],
  ["GET *", { ...REQUEST, ":path": "*" }],
  ["a scheme that is none", { ...REQUEST, ":scheme": "1:" }],
  ["an authority with a path", { ...REQUEST, ":authority": "svc/a" }],
  ["userinfo in the authority", { ...REQUEST, ":authority": "u@svc" }],
  ["te: gzip", { ...REQUEST, te: "gzip" }],
  ["extended CONNECT", { ...REQUEST, ":method": "CONNECT", ":protocol": "websocket" }],
];

/** Node serves these, or may: answered by us. */
const REFUSED: readonly [string, Record<string, string>, string, number][] = [
  ["CONNECT", { ":method": "CONNECT", ":authority": "svc:443" }, "method_not_allowed", 405],
  ["TRACE", { ...REQUEST, ":method": "TRACE" }, "method_not_allowed", 405],
  ["a host that differs", { ...REQUEST, host: "other" }, "bad_host", 400],
  ["a fragment", { ...REQUEST, ":path": "/a#b" }, "bad_target", 400],
  ["a backslash in the path", { ...REQUEST, ":path": "/a\\b" }, "bad_target", 400],
  ["another scheme", { ...REQUEST, ":scheme": "ftp" }, "bad_target", 400],
  ["https in cleartext", { ...REQUEST, ":scheme": "https" }, "bad_target", 400],
];

describe("G16 LS", () => {
  it.each(CONNECTION)(
    "G16 LS: %s: the connection ends with an error, and no other one",
    async (_name, frames) => {
      const started = await start();
      const client = await started.client();
      client.send(...frames);
      await client.raw.end();
      const goaway = client.frames.find(({ type }) => type === GOAWAY);
      // Some are answered by Node's own close, which says nothing; none by a reply to what is illegal.
      if (goaway !== undefined) expect(goaway.payload.readUInt32BE(4)).not.toBe(0);
      await until(() => started.server.snapshot().requestsInFlight === 0);
      expect(started.server.snapshot()).toMatchObject({ connections: 0, sessions: 0 });
      await servesOthers(started);
    },
  );

  it.each(STREAM)("G16 LS: %s: that stream is reset, the next is served", async (_name, fields) => {
    const started = await start();
    const client = await started.client();
    client.send(head(1, fields, true), head(3, { ...REQUEST, ":path": "/next" }, true));
    await client.reply(3);
    await client.until(({ id, type }) => id === 1 && type === RST_STREAM, "the reset");
    expect(started.served).toEqual(["/next"]);
    expect(client.raw.closed).toBe(false);
  });

  it("G16 LS: no authority and no host, two authorities, two lengths: reset, the next is served", async () => {
    const started = await start();
    const client = await started.client();
    const { ":authority": _, ...homeless } = REQUEST;
    const twice = (fields: Record<string, string>, more: Record<string, string>, id: number) =>
      frame(HEADERS, END_HEADERS | END_STREAM, id, Buffer.concat([block(fields), block(more)]));
    client.send(
      head(1, homeless, true),
      twice(REQUEST, { ":authority": "other" }, 3),
      twice({ ...UPLOAD, "content-length": "0" }, { "content-length": "1" }, 5),
      head(7, { ...REQUEST, ":path": "/next" }, true),
    );
    await client.reply(7);
    for (const id of [1, 3, 5]) {
      await client.until((one) => one.id === id && one.type === RST_STREAM, `the reset of ${id}`);
    }
    expect(started.served).toEqual(["/next"]);
  });

  it.each(REFUSED)(
    "G16 LS: %s is answered by us, and the next is served",
    async (_name, fields, reason, status) => {
      const started = await start();
      const client = await started.client();
      client.send(head(1, fields, true), head(3, { ...REQUEST, ":path": "/next" }, true));
      await client.reply(3);
      await client.until(({ id, flags }) => id === 1 && (flags & END_STREAM) !== 0, "the answer");
      expect(started.served).toEqual(["/next"]);
      expect(started.server.snapshot().refused).toEqual({ [reason]: 1 });
      expect(REFUSALS[reason as "bad_host"].status).toBe(status);
      expect(client.raw.closed).toBe(false);
    },
  );

  it.each([
    ["a line break", "1\r\nb: 2"],
    ["a NUL", "1\x002"],
    ["an outer space", " 1 "],
  ])("G16 LS: %s in a value: the handler never sees it", async (_name, value) => {
    const started = await start();
    let names: string[] | undefined;
    started.server.server.prependListener("request", (request: IncomingMessage) => {
      names = Object.keys(request.headers);
    });
    const client = await started.client();
    // nghttp2 takes such a field out, and goes on.
    client.send(head(1, { ...REQUEST, a: value, c: "3" }, true));
    await client.reply(1);
    expect(names).toContain("c");
    expect(names).not.toContain("a");
    expect(names).not.toContain("b");
  });

  it("G16 LS: a stream below one that was opened is never served", async () => {
    const started = await start();
    const client = await started.client();
    client.send(head(5, REQUEST, true), head(3, { ...REQUEST, ":path": "/below" }, true));
    await client.reply(5);
    client.send(head(7, { ...REQUEST, ":path": "/above" }, true));
    await client.reply(7);
    expect(started.served).toEqual(["/", "/above"]);
  });

  it("G16 LS: HEADERS and DATA after END_STREAM do not reach the handler again", async () => {
    const started = await start();
    const client = await started.client();
    client.send(head(1, REQUEST, true), data(1, "x", true), head(1, REQUEST, true));
    await client.raw.end();
    expect(started.served.length).toBeLessThanOrEqual(1);
    await servesOthers(started);
  });

  it("G16 LS: a flood of illegal requests ends the connection", async () => {
    const started = await start();
    const client = await started.client();
    for (let id = 1; id < 4_000 && !client.raw.closed; id += 2) {
      client.send(head(id, { ...REQUEST, "X-A": "1" }, true));
      if (id % 100 === 1) await new Promise((resolve) => setImmediate(resolve));
    }
    await client.raw.end();
    expect(started.served).toEqual([]);
    await servesOthers(started);
  });
});

describe("G13 LS", () => {
  it("G13 LS: PRIORITY, unknown frames, settings and flags, ORIGIN and ALTSVC are ignored", async () => {
    const started = await start();
    const client = await started.client();
    const priority = Buffer.from([0, 0, 0, 0, 7]);
    let id = 1;
    for (; id < 60; id += 2) {
      client.send(
        frame(PRIORITY, 0, id, priority),
        frame(0x20, 0xff, id, Buffer.alloc(100, 1)),
        frame(0xfe, 0, 0),
        frame(ALTSVC, 0, 0, Buffer.from('\0\x0bhttp://svc/h2=":1"')),
        frame(ORIGIN, 0, 0, Buffer.from("\0\x0ahttp://svc/")),
        frame(16, 0, 0, Buffer.concat([words(id), Buffer.from("u=1")])), // PRIORITY_UPDATE
        ...(id < 10 ? [settings(0xf0f0, id, 0x4242, 1)] : []),
        head(id, { ...REQUEST, ":path": `/${id}`, priority: "u=0, i" }, true),
      );
      await client.reply(id);
    }
    expect(started.served).toHaveLength(30);
    expect(client.raw.closed).toBe(false);
    expect(client.frames.some(({ type }) => type === GOAWAY || type === RST_STREAM)).toBe(false);
  });

  it("G13 LS: a flood of them costs no memory", async () => {
    const started = await start();
    const flood = Buffer.concat(
      Array.from({ length: 1_000 }, (_, i) =>
        Buffer.concat([
          frame(ORIGIN, 0, 0, Buffer.from("\0\x0ahttp://svc/")),
          frame(ALTSVC, 0, 0, Buffer.from(`\0\x0bhttp://s${i % 10}/h2=":1"`)),
          frame(0x20, 0, 0, Buffer.alloc(1_000, 1)),
        ]),
      ),
    );
    // nghttp2 may have enough of it, and end the connection.
    const suffer = async (): Promise<void> => {
      const client = await started.client();
      for (let id = 1; id < 8 && !client.raw.closed; id += 2) {
        client.send(flood, head(id, REQUEST, true));
        await client.reply(id).catch(() => {});
      }
      client.raw.socket.destroy();
    };
    await suffer();
    const before = process.memoryUsage();
    for (let i = 0; i < 10; i++) await suffer();
    await until(() => started.server.snapshot().connections === 0);
    const after = process.memoryUsage();
    expect(after.heapUsed - before.heapUsed).toBeLessThan(30 << 20);
    expect(after.rss - before.rss).toBeLessThan(100 << 20);
    await servesOthers(started);
  });
});
