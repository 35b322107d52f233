/** Heads that HTTP/2 forbids, or that two readers could understand differently: none reaches a server. */
import { describe, expect, it } from "vitest";
import { H2Client } from "../../http/test/support/h2-client.ts";
import {
  block,
  data,
  END_HEADERS,
  END_STREAM,
  frame,
  HEADERS,
  head,
  RST_STREAM,
  type Frame,
} from "../../http/test/support/h2-peer.ts";
import { HeadFields, HpackDecoder } from "../src/http2/hpack-decoder.ts";
import type { HpackField } from "../src/http2/hpack-fields.ts";
import { origin2 } from "./support/http2.ts";
import { proxied } from "./support/proxied.ts";

const PROTOCOL_ERROR = 1;
const GET = { ":method": "GET", ":scheme": "http", ":path": "/", ":authority": "orders" };
const POST = { ...GET, ":method": "POST" };

/** A proxy before a server that says which paths have reached it. */
async function before(listener: object = {}) {
  const reached: string[] = [];
  const origin = await origin2((stream, headers) => {
    reached.push(String(headers[":path"]));
    stream.resume();
    stream.respond({ ":status": 200 });
    stream.end("ok");
  });
  const { port, proxy } = await proxied(
    { orders: { http2: true, discovery: { static: [origin.address] } } },
    { spoken: "http2", listener },
  );
  const client = await H2Client.to(port);
  return { reached, client, refused: () => proxy.listeners[0]!.snapshot().refused };
}

function without(name: string, fields: Record<string, string> = GET): Record<string, string> {
  return Object.fromEntries(Object.entries(fields).filter(([one]) => one !== name));
}

/** Blocks of these fields, in this order, repeated ones too. */
function blocks(...fields: readonly Record<string, string>[]): Buffer {
  return Buffer.concat(fields.map(block));
}

function headOf(...fields: readonly Record<string, string>[]): Buffer {
  return frame(HEADERS, END_HEADERS | END_STREAM, 1, blocks(...fields));
}

/** Status of the reply on stream 1, or the code of its reset. */
async function answer(client: H2Client): Promise<string> {
  const first = await client.until(
    ({ id, type }) => id === 1 && (type === HEADERS || type === RST_STREAM),
    "an answer",
  );
  if (first.type === RST_STREAM) return `reset ${first.payload.readUInt32BE(0)}`;
  return statusOf(client.frames);
}

function statusOf(frames: readonly Frame[]): string {
  const decoder = new HpackDecoder();
  for (const { id, type, payload } of frames) {
    if (type !== HEADERS) continue;
    const fields = new HeadFields();
    decoder.decode(payload, 0, payload.length, fields, { maxBytes: 100_000, maxCount: 1_000 });
    if (id === 1) return fields.list[0]!.value;
  }
  return "none";
}

async function served(client: H2Client): Promise<void> {
  client.send(head(99, { ...GET, ":path": "/after" }, true));
  await client.reply(99);
}

describe("G16 P22: malformed (RFC 9113 §8.1.1): the stream is reset, the connection goes on", () => {
  it.each<[string, Buffer[]]>([
    ["a name in upper case", [headOf({ ...GET, "X-A": "1" })]],
    ["an empty name", [headOf(GET, { "": "1" })]],
    ["a space in a name", [headOf({ ...GET, "x a": "1" })]],
    ["a colon in a name", [headOf({ ...GET, "x:a": "1" })]],
    ["CR LF in a name", [headOf({ ...GET, "x\r\na": "1" })]],
    ["CR LF in a value", [headOf({ ...GET, x: "1\r\nhost: evil" })]],
    ["LF in a value", [headOf({ ...GET, x: "1\n" })]],
    ["NUL in a value", [headOf({ ...GET, x: "1\0" })]],
    ["a space before a value", [headOf({ ...GET, x: " 1" })]],
    ["a space behind a value", [headOf({ ...GET, x: "1 " })]],
    ["CR LF in :path", [headOf({ ...GET, ":path": "/ HTTP/1.1\r\nhost: evil\r\n\r\n" })]],
    ["CR LF in :authority", [headOf({ ...GET, ":authority": "a\r\nx: y" })]],
    ["a space in :method", [headOf({ ...GET, ":method": "GET /evil HTTP/1.1" })]],
    ["an empty :method", [headOf({ ...GET, ":method": "" })]],
    ["no :method", [headOf(without(":method"))]],
    ["no :scheme", [headOf(without(":scheme"))]],
    ["no :path", [headOf(without(":path"))]],
    ["an empty :path", [headOf({ ...GET, ":path": "" })]],
    ["an empty :authority", [headOf({ ...GET, ":authority": "" })]],
    ["two :method", [headOf(GET, { ":method": "POST" })]],
    ["two :path", [headOf(GET, { ":path": "/other" })]],
    ["two :scheme", [headOf(GET, { ":scheme": "http" })]],
    ["two :authority", [headOf(GET, { ":authority": "orders" })]],
    ["a pseudo-header behind a field", [headOf({ "x-a": "1" }, GET)]],
    ["an unknown pseudo-header", [headOf({ ...GET, ":what": "1" })]],
    ["a pseudo-header of replies", [headOf({ ...GET, ":status": "200" })]],
    ["extended CONNECT", [headOf({ ...GET, ":method": "CONNECT", ":protocol": "websocket" })]],
    ["two host fields", [headOf(GET, { host: "orders" }, { host: "orders" })]],
    ["transfer-encoding", [headOf({ ...POST, "transfer-encoding": "chunked" })]],
    ["connection", [headOf({ ...GET, connection: "close" })]],
    ["keep-alive", [headOf({ ...GET, "keep-alive": "timeout=5" })]],
    ["proxy-connection", [headOf({ ...GET, "proxy-connection": "close" })]],
    ["upgrade", [headOf({ ...GET, upgrade: "websocket" })]],
    ["te that is not trailers", [headOf({ ...GET, te: "gzip" })]],
    [
      "two lengths that differ",
      [headOf(POST, { "content-length": "1" }, { "content-length": "2" })],
    ],
    [
      "two lengths that are equal",
      [
        frame(
          HEADERS,
          END_HEADERS,
          1,
          blocks(POST, { "content-length": "1" }, { "content-length": "1" }),
        ),
        data(1, "x", true),
      ],
    ],
    ["a length with a sign", [headOf({ ...POST, "content-length": "+1" })]],
    ["a length of no body", [headOf({ ...POST, "content-length": "1" })]],
    [
      "a body longer than its length",
      [head(1, { ...POST, "content-length": "1" }), data(1, "ab", true)],
    ],
    [
      "a body shorter than its length",
      [head(1, { ...POST, "content-length": "3" }), data(1, "ab", true)],
    ],
    ["a pseudo-header in trailers", [head(1, POST), data(1, "x"), head(1, { ":path": "/" }, true)]],
    [
      "transfer-encoding in trailers",
      [head(1, POST), data(1, "x"), head(1, { "transfer-encoding": "chunked" }, true)],
    ],
    ["trailers that do not end the stream", [head(1, POST), data(1, "x"), head(1, { "x-a": "1" })]],
  ])("%s", async (_, frames) => {
    const { client, reached, refused } = await before();
    client.send(...frames);
    expect(await answer(client)).toBe(`reset ${PROTOCOL_ERROR}`);
    await served(client);
    // Of a body that does not fit, the head had gone on already.
    expect(reached.filter((path) => path !== "/after" && path !== "/")).toEqual([]);
    expect(Object.keys(refused()).filter((reason) => reason !== "malformed")).toEqual([]);
  });
});

describe("H8 P22, H9 P22: well formed and refused (security.md 4.2)", () => {
  it.each<[string, Buffer, string]>([
    [":authority and another host", headOf({ ...GET, host: "other" }), "400"],
    ["no authority", headOf(without(":authority")), "400"],
    ["userinfo in :authority", headOf({ ...GET, ":authority": "u:p@orders" }), "400"],
    ["a path in :authority", headOf({ ...GET, ":authority": "orders/x" }), "400"],
    ["IPv6 without brackets", headOf({ ...GET, ":authority": "::1" }), "400"],
    ["a fragment in :path", headOf({ ...GET, ":path": "/a#b" }), "400"],
    ["a path without a slash", headOf({ ...GET, ":path": "a" }), "400"],
    ["an absolute path", headOf({ ...GET, ":path": "http://evil/" }), "400"],
    ["* that is no OPTIONS", headOf({ ...GET, ":path": "*" }), "400"],
    ["segments of dots", headOf({ ...GET, ":path": "/a/../b" }), "400"],
    ["bytes beyond ASCII in :path", headOf({ ...GET, ":path": "/\u00e9" }), "400"],
    ["a space in :path", headOf({ ...GET, ":path": "/ HTTP/1.1" }), "400"],
    [":scheme ftp", headOf({ ...GET, ":scheme": "ftp" }), "400"],
    [":scheme https without TLS", headOf({ ...GET, ":scheme": "https" }), "400"],
    ["CONNECT", headOf({ ":method": "CONNECT", ":authority": "orders:80" }), "405"],
    ["TRACE", headOf({ ...GET, ":method": "TRACE" }), "405"],
    ["an expectation that is none", headOf({ ...GET, expect: "y 100-continue" }), "417"],
    ["a target of 8,193 bytes", headOf({ ...GET, ":path": `/${"a".repeat(8_192)}` }), "414"],
    [
      "101 fields",
      headOf(GET, ...Array.from({ length: 97 }, (_, i) => ({ [`x-${i}`]: "1" }))),
      "431",
    ],
    [
      "101 fields, cookie crumbs",
      headOf(GET, ...Array.from({ length: 97 }, () => ({ cookie: "a=1" }))),
      "431",
    ],
    ["a value of 8,193 bytes", headOf({ ...GET, x: "1".repeat(8_193) }), "431"],
    ["a name of 257 bytes", headOf({ ...GET, ["x".repeat(257)]: "1" }), "431"],
    ["an authority that is no service", headOf({ ...GET, ":authority": "evil" }), "404"],
  ])("%s: %#", async (_, sent, status) => {
    const { client, reached } = await before();
    client.send(sent);
    expect(await answer(client)).toBe(status);
    await served(client);
    expect(reached).toEqual(["/after"]);
  });

  it("a claim of another mesh, and fields of ours that a client must not say, do not reach the server", async () => {
    let got: readonly string[] = [];
    const origin = await origin2((stream, _headers, raw) => {
      got = raw;
      stream.resume();
      stream.respond({ ":status": 200 }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "x-end": "1" }));
      stream.end("ok");
    });
    const { port } = await proxied(
      { orders: { http2: true, peer: false, discovery: { static: [origin.address] } } },
      { spoken: "http2", listener: { posture: "edge" } },
    );
    const client = await H2Client.to(port);
    client.send(
      headOf({
        ...GET,
        "l5d-dst-override": "x",
        "x-forwarded-client-cert": "x",
        "x-mesh-hops": "3",
        "x-forwarded-for": "1.2.3.4",
        "x-kept": "1",
      }),
    );
    await client.until(({ id, flags }) => id === 1 && (flags & END_STREAM) !== 0, "the reply");
    const names = got.filter((_, i) => i % 2 === 0);
    expect(names).toContain("x-kept");
    for (const name of ["l5d-dst-override", "x-forwarded-client-cert", "x-mesh-hops"]) {
      expect(names).not.toContain(name);
    }
    // Where it comes from is what its connection says, and not what it says itself.
    expect(got[got.indexOf("x-forwarded-for") + 1]).toBe("127.0.0.1");
    // What any client may say about itself is replaced by what its connection says.
    expect(got).not.toContain("1.2.3.4");
  });

  it("a traceparent that is none does not reach the server, and is counted", async () => {
    let names: readonly string[] = [];
    const origin = await origin2((stream, _headers, raw) => {
      names = raw.filter((_, i) => i % 2 === 0);
      stream.resume();
      stream.respond({ ":status": 200 });
      stream.end("ok");
    });
    const { port, proxy } = await proxied(
      { orders: { http2: true, discovery: { static: [origin.address] } } },
      { spoken: "http2" },
    );
    const client = await H2Client.to(port);
    client.send(headOf({ ...GET, traceparent: "00-x", tracestate: "a=1" }));
    await client.reply(1);
    expect(names).not.toContain("traceparent");
    expect(names).not.toContain("tracestate");
    expect(proxy.listeners[0]!.snapshot().refused).toMatchObject({ traceparent: 1 });
  });

  it("what is never indexed stays never indexed on its way", async () => {
    const { h2Peer, ok } = await import("../../http/test/support/h2-peer.ts");
    const secret = Promise.withResolvers<HpackField | undefined>();
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      const id = await connection.request();
      const { payload } = connection.frames.find(({ type }) => type === HEADERS)!;
      const fields = new HeadFields();
      new HpackDecoder().decode(payload, 0, payload.length, fields, {
        maxBytes: 1e6,
        maxCount: 1e3,
      });
      secret.resolve(fields.list.find(({ name }) => name === "x-secret"));
      await connection.write(ok(id));
    });
    const { port } = await proxied(
      { orders: { http2: true, discovery: { static: [peer.address] } } },
      { spoken: "http2" },
    );
    const client = await H2Client.to(port);
    const never = Buffer.concat([
      Buffer.from([0x10, 8]),
      Buffer.from("x-secret"),
      Buffer.from([5]),
      Buffer.from("12345"),
    ]);
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, Buffer.concat([block(GET), never])));
    await client.until(({ id, flags }) => id === 1 && (flags & END_STREAM) !== 0, "the reply");
    expect(await secret.promise).toMatchObject({ value: "12345", indexing: 2 });
  });
});
