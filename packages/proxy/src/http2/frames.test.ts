import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  closeHeaders,
  FLAG,
  FRAME,
  FRAME_HEADER_BYTES,
  FrameReader,
  MAX_FRAME_BYTES,
  putFrameHeader,
  writeData,
  writeGoaway,
  writePing,
  writeReset,
  writeSettings,
  writeWindowUpdate,
} from "./frames.ts";
import { Outgoing } from "./outgoing.ts";
import { StreamTable } from "./stream-table.ts";

interface Seen {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: string;
}

/** Reads bytes in pieces of these sizes, again and again. */
function read(bytes: Buffer, sizes: readonly number[]): { frames: Seen[]; tooLong: boolean } {
  const frames: Seen[] = [];
  const state = { tooLong: false };
  const reader = new FrameReader({
    frame: (type, flags, stream, from, start, end) => {
      frames.push({ type, flags, stream, payload: from.toString("hex", start, end) });
      return true;
    },
    frameTooLong: () => (state.tooLong = true),
  });
  let at = 0;
  for (let n = 0; at < bytes.length && !state.tooLong; n++) {
    const size = sizes[n % sizes.length]!;
    // A copy: nothing of it may be kept.
    const piece = Buffer.from(bytes.subarray(at, at + size));
    reader.read(piece, 0);
    piece.fill(0);
    at += size;
  }
  return { frames, tooLong: state.tooLong };
}

const stream = fc.integer({ min: 1, max: 0x7fff_ffff });
const word = fc.integer({ min: 0, max: 0xffff_ffff });
const written = fc.oneof(
  fc.record({
    kind: fc.constant("data" as const),
    stream,
    bytes: fc.uint8Array({ maxLength: 9_000 }),
    ends: fc.boolean(),
  }),
  fc.record({ kind: fc.constant("reset" as const), stream, code: word }),
  fc.record({
    kind: fc.constant("window" as const),
    stream,
    code: fc.integer({ min: 1, max: 0x7fff_ffff }),
  }),
  fc.record({
    kind: fc.constant("ping" as const),
    bytes: fc.uint8Array({ minLength: 8, maxLength: 8 }),
  }),
  fc.record({ kind: fc.constant("settings" as const), code: word }),
  fc.record({ kind: fc.constant("goaway" as const), stream, code: word }),
);

function hex(value: number, bytes = 4): string {
  return value.toString(16).padStart(bytes * 2, "0");
}

describe("frames", () => {
  test("what is written comes out as it went in, in buffers of any size and pieces of any size", () => {
    fc.assert(
      fc.property(
        fc.array(written, { maxLength: 30 }),
        fc.array(fc.integer({ min: 1, max: 20_000 }), { minLength: 1, maxLength: 5 }),
        (frames, sizes) => {
          const out = new Outgoing();
          const expected: Seen[] = [];
          for (const one of frames) {
            switch (one.kind) {
              case "data": {
                const bytes = Buffer.from(one.bytes);
                writeData(out, one.stream, bytes, 0, bytes.length, one.ends);
                const flags = one.ends ? FLAG.endStream : 0;
                expected.push({
                  type: FRAME.data,
                  flags,
                  stream: one.stream,
                  payload: bytes.toString("hex"),
                });
                break;
              }
              case "reset":
                writeReset(out, one.stream, one.code);
                expected.push({
                  type: FRAME.rstStream,
                  flags: 0,
                  stream: one.stream,
                  payload: hex(one.code),
                });
                break;
              case "window":
                writeWindowUpdate(out, one.stream, one.code);
                expected.push({
                  type: FRAME.windowUpdate,
                  flags: 0,
                  stream: one.stream,
                  payload: hex(one.code),
                });
                break;
              case "ping":
                writePing(out, true, Buffer.from(one.bytes), 0);
                expected.push({
                  type: FRAME.ping,
                  flags: FLAG.ack,
                  stream: 0,
                  payload: Buffer.from(one.bytes).toString("hex"),
                });
                break;
              case "settings":
                writeSettings(out, [[4, one.code]]);
                expected.push({
                  type: FRAME.settings,
                  flags: 0,
                  stream: 0,
                  payload: `0004${hex(one.code)}`,
                });
                break;
              case "goaway":
                writeGoaway(out, one.stream, one.code, "why");
                expected.push({
                  type: FRAME.goaway,
                  flags: 0,
                  stream: 0,
                  payload: `${hex(one.stream)}${hex(one.code)}776879`,
                });
            }
          }
          const bytes = Buffer.from(out.taken());
          out.written();
          expect(read(bytes, sizes).frames).toEqual(expected);
        },
      ),
      { numRuns: 300 },
    );
  });

  test.each([0, 1, 16_384, 16_385, 32_768, 32_769, 100_000])(
    "a head of %i bytes is cut into frames that hold it",
    (size) => {
      const out = new Outgoing();
      const block = Buffer.from(Array.from({ length: size }, (_, i) => i % 251));
      out.reserve(FRAME_HEADER_BYTES);
      const start = out.at;
      out.at += FRAME_HEADER_BYTES;
      out.reserve(size);
      block.copy(out.buffer, out.at);
      out.at += size;
      closeHeaders(out, start, 5, true, MAX_FRAME_BYTES);
      writeReset(out, 7, 8);
      const { frames } = read(Buffer.from(out.taken()), [10_000]);
      const last = frames.pop();
      expect(last).toMatchObject({ type: FRAME.rstStream, stream: 7 });
      expect(frames.map(({ payload }) => payload).join("")).toBe(block.toString("hex"));
      expect(frames.map(({ type }) => type)).toEqual([
        FRAME.headers,
        ...Array.from(
          { length: Math.max(0, Math.ceil(size / MAX_FRAME_BYTES) - 1) },
          () => FRAME.continuation,
        ),
      ]);
      expect(frames[0]!.flags & FLAG.endStream).toBe(FLAG.endStream);
      expect(frames.map(({ flags }) => (flags & FLAG.endHeaders) !== 0)).toEqual(
        frames.map((_, n) => n === frames.length - 1),
      );
    },
  );

  test("a frame that is too long is not waited for", () => {
    const bytes = Buffer.alloc(FRAME_HEADER_BYTES);
    putFrameHeader(bytes, 0, MAX_FRAME_BYTES + 1, FRAME.data, 0, 1);
    expect(read(bytes, [9]).tooLong).toBe(true);
    expect(read(bytes, [1]).tooLong).toBe(true);
  });
});

describe("the table of streams", () => {
  test("holds what a Map would", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 400 })), { maxLength: 400 }),
        (steps) => {
          const table = new StreamTable<{ id: number; nextStream: undefined }>();
          const map = new Map<number, { id: number; nextStream: undefined }>();
          for (const [adds, n] of steps) {
            const id = 2 * n + 1;
            const there = map.get(id);
            expect(table.get(id)).toBe(there);
            if (adds && there === undefined) {
              const entry = { id, nextStream: undefined };
              table.add(entry);
              map.set(id, entry);
            } else if (!adds && there !== undefined) {
              table.remove(there);
              map.delete(id);
            }
            expect(table.size).toBe(map.size);
          }
          expect(new Set(table.all())).toEqual(new Set(map.values()));
        },
      ),
    );
  });
});
