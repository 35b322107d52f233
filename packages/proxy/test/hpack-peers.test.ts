/** The codec of header blocks against nghttp2, by way of node:http2 on real sockets, in both directions. */
import fc from "fast-check";
import { once } from "node:events";
import http2 from "node:http2";
import net, { type AddressInfo, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  HpackField,
  INDEXED,
  NEVER_INDEXED,
  NOT_INDEXED,
  nameOf,
} from "../src/http2/hpack-fields.ts";
import { HeadFields, HpackDecoder } from "../src/http2/hpack-decoder.ts";
import { HpackEncoder } from "../src/http2/hpack-encoder.ts";
import { Outgoing } from "../src/http2/outgoing.ts";
import {
  frame,
  HEADERS,
  PREFACE,
  SETTINGS,
  takeFrames,
  type Frame,
} from "../../http/test/support/h2-frames.ts";

type Pair = [name: string, value: string];
const LIMITS = { maxBytes: 1_000_000, maxCount: 10_000 };

const value = fc
  .string({
    unit: fc.integer({ min: 0x21, max: 0x7e }).map((c) => String.fromCharCode(c)),
    maxLength: 120,
  })
  .filter((text) => text !== "");
const head = fc.array(
  fc.tuple(
    fc.oneof(
      fc.constantFrom("cookie", "x-a", "x-tenant", "accept", "x-b"),
      fc.stringMatching(/^x-[a-z0-9-]{1,40}$/),
    ),
    fc.oneof(fc.constantFrom("a", "gzip, deflate", "text/html"), value),
  ),
  { maxLength: 12 },
);

/** Calls back with each frame, as they come in any pieces. */
function onFrames(socket: Socket, skip: number, seen: (frame: Frame) => void): void {
  let rest: Buffer = Buffer.alloc(0);
  let left = skip;
  socket.on("data", (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    const over = Math.min(left, rest.length);
    left -= over;
    rest = rest.subarray(over);
    if (left > 0) return;
    rest = takeFrames(rest, seen);
  });
}

describe("what nghttp2 encodes", () => {
  const server = net.createServer();
  const heads = new Map<number, Pair[]>();
  let waiting: (() => void) | undefined;

  beforeAll(async () => {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    server.on("connection", (socket) => {
      socket.on("error", () => undefined);
      const decoder = new HpackDecoder();
      socket.write(frame(SETTINGS, 0, 0, Buffer.alloc(0)));
      onFrames(socket, PREFACE.length, ({ type, flags, id: stream, payload }) => {
        if (type === SETTINGS && (flags & 1) === 0)
          socket.write(frame(SETTINGS, 1, 0, Buffer.alloc(0)));
        if (type !== HEADERS) return;
        const fields = new HeadFields();
        // With priority: five bytes before the block.
        const from = (flags & 0x20) === 0 ? 0 : 5;
        const fault = decoder.decode(payload, from, payload.length, fields, LIMITS);
        heads.set(
          stream,
          fault === undefined
            ? fields.list.map(({ name, value: text }) => [name, text])
            : [["fault", fault]],
        );
        waiting?.();
      });
    });
  });
  afterAll(() => void server.close());

  test("comes out of our decoder as it went in", async () => {
    const client = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    client.on("error", () => undefined);
    try {
      await fc.assert(
        fc.asyncProperty(head, value, async (fields, path) => {
          const flat = [":path", `/${path}`, ":method", "GET", ...fields.flat()];
          const came = new Promise<void>((resolve) => (waiting = resolve));
          const stream = client.request(flat as never, { endStream: true });
          stream.on("error", () => undefined);
          await came;
          const got = heads.get(stream.id!)!;
          expect(got.filter(([name]) => !name.startsWith(":"))).toEqual(fields);
          expect(new Map(got).get(":path")).toBe(`/${path}`);
          heads.clear();
          stream.close();
        }),
        { numRuns: 150 },
      );
    } finally {
      client.destroy();
    }
  });
});

describe("what our encoder makes", () => {
  test("is read by nghttp2 as it was meant, in tables of any size", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(0, 64, 300, 4_096, 65_536),
        fc.array(fc.tuple(head, value), { minLength: 1, maxLength: 12 }),
        async (tableBytes, requests) => {
          const server = http2.createServer({ settings: { headerTableSize: tableBytes } });
          const got: (readonly string[])[] = [];
          const failures: unknown[] = [];
          const done = new Promise<void>((resolve) => {
            server.on("sessionError", (error) => (failures.push(error), resolve()));
            server.on("stream", (stream, _headers, _flags, raw) => {
              got.push(raw as unknown as string[]);
              stream.respond({ ":status": 204 }, { endStream: true });
              if (got.length === requests.length) resolve();
            });
          });
          server.listen(0, "127.0.0.1");
          await once(server, "listening");
          const socket = net.connect((server.address() as AddressInfo).port, "127.0.0.1");
          socket.on("error", () => undefined);
          const encoder = new HpackEncoder();
          socket.write(Buffer.concat([PREFACE, frame(SETTINGS, 0, 0, Buffer.alloc(0))]));
          await new Promise<void>((resolve) =>
            onFrames(socket, 0, ({ type, flags, payload }) => {
              if (type !== SETTINGS || (flags & 1) !== 0) return;
              for (let at = 0; at < payload.length; at += 6) {
                if (payload.readUInt16BE(at) === 1) encoder.resize(payload.readUInt32BE(at + 2));
              }
              socket.write(frame(SETTINGS, 1, 0, Buffer.alloc(0)));
              resolve();
            }),
          );
          const sent = requests.map(([fields, path]) => [
            new HpackField(nameOf(":method"), "GET", INDEXED),
            new HpackField(nameOf(":scheme"), "http", INDEXED),
            new HpackField(nameOf(":authority"), "orders", INDEXED),
            new HpackField(nameOf(":path"), `/${path}`, NOT_INDEXED),
            ...fields.map(
              ([name, text], at) =>
                new HpackField(nameOf(name), text, at % 5 === 4 ? NEVER_INDEXED : INDEXED),
            ),
          ]);
          for (const [at, fields] of sent.entries()) {
            const out = new Outgoing();
            encoder.begin(out);
            for (const field of fields) encoder.encode(field, out);
            socket.write(frame(HEADERS, 5, at * 2 + 1, Buffer.from(out.taken())));
          }
          await done;
          socket.destroy();
          server.close();
          expect(failures).toEqual([]);
          expect(got.map((raw) => [...raw])).toEqual(
            sent.map((fields) => fields.flatMap(({ name, value: text }) => [name, text])),
          );
        },
      ),
      { numRuns: 60 },
    );
  });
});
