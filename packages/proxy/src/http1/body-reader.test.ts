/** Bodies come out the same wherever reads end, and never more than was sent. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { allowedOf, BodyReader } from "./body-reader.ts";
import { MALFORMED } from "./lexer.ts";

const LIMITS = { maxTrailerCount: 32, maxTrailerBytes: 8_192 };

interface Got {
  readonly body: string;
  readonly rest: string;
  readonly reader: BodyReader;
  readonly malformed: boolean;
}

/** Reads pieces one after the other; a target that is full after every piece is resumed at once. */
function readAll(
  start: (reader: BodyReader) => void,
  pieces: readonly Buffer[],
  isFull = false,
): Got {
  const reader = new BodyReader(LIMITS);
  start(reader);
  let body = "";
  let rest = "";
  const target = {
    bodyData(bytes: Buffer, from: number, to: number): boolean {
      body += bytes.toString("latin1", from, to);
      return !isFull;
    },
  };
  for (const piece of pieces) {
    let at = 0;
    while (at < piece.length && !reader.ended) {
      at = reader.read(piece, at, piece.length, target);
      if (at === MALFORMED) return { body, rest, reader, malformed: true };
    }
    rest += piece.toString("latin1", at);
  }
  return { body, rest, reader, malformed: false };
}

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ends = [...new Set(places.map((place) => place % (bytes.length + 1)))].toSorted(
    (a, b) => a - b,
  );
  const pieces: Buffer[] = [];
  let from = 0;
  for (const end of [...ends, bytes.length]) {
    if (end > from) pieces.push(bytes.subarray(from, end));
    from = end;
  }
  return pieces;
}
const chunk = fc.tuple(
  fc.uint8Array({ minLength: 1, maxLength: 300 }),
  fc.constantFrom("", ";a", ';a="b c"', ";a=b;c"),
  fc.constantFrom("", "0", "000"),
  fc.boolean(),
);

describe("a body in chunks", () => {
  it("comes out whole wherever reads end, and what stands behind it stays", () => {
    fc.assert(
      fc.property(
        fc.array(chunk, { maxLength: 8 }),
        fc.array(fc.nat(), { maxLength: 12 }),
        fc.string({ unit: "binary-ascii", maxLength: 20 }),
        fc.boolean(),
        fc.boolean(),
        (chunks, places, behind, hasTrailers, isFull) => {
          const wire: Buffer[] = [];
          let body = "";
          for (const [data, extension, zeros, isUpper] of chunks) {
            const hex = data.length.toString(16);
            wire.push(
              Buffer.from(`${zeros}${isUpper ? hex.toUpperCase() : hex}${extension}\r\n`),
              Buffer.from(data),
              Buffer.from("\r\n"),
            );
            body += Buffer.from(data).toString("latin1");
          }
          wire.push(
            Buffer.from(
              `0\r\n${hasTrailers ? "x-a: 1\r\nX-B:2 \r\nset-cookie: no\r\nx-mesh-hops: 1\r\n" : ""}\r\n${behind}`,
              "latin1",
            ),
          );
          const got = readAll(
            (reader) => reader.startChunked(),
            cut(Buffer.concat(wire), places),
            isFull,
          );
          expect(got.malformed).toBe(false);
          expect(got.reader.ended).toBe(true);
          expect(got.body).toBe(body);
          expect(got.rest).toBe(behind);
          const trailers = allowedOf(got.reader.trailers);
          const said =
            trailers &&
            Array.from(
              { length: trailers.count },
              (_, n) => `${trailers.nameOf(n)}=${trailers.valueOf(n)}`,
            );
          expect(said).toEqual(hasTrailers ? ["x-a=1", "x-b=2"] : undefined);
        },
      ),
      { numRuns: 500 },
    );
  });

  it("no bytes make it throw, or give more than came", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.array(fc.nat(), { maxLength: 5 }),
        (bytes, places) => {
          const got = readAll((reader) => reader.startChunked(), cut(Buffer.from(bytes), places));
          expect(got.body.length + got.rest.length).toBeLessThanOrEqual(bytes.length);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it.each([
    ["extensions of 17 KiB, in small pieces", `3;${"a".repeat(17_000)}\r\nabc\r\n0\r\n\r\n`],
    ["trailers that never end", `0\r\n${`x: ${"y".repeat(500)}\r\n`.repeat(40)}`],
    ["more trailers than allowed", `0\r\n${"x: y\r\n".repeat(33)}\r\n`],
    ["a trailer that says how long the body is", "0\r\ncontent-length: 3\r\n\r\n"],
  ])("%s: none", (_, text) => {
    const bytes = Buffer.from(text);
    const pieces = Array.from({ length: Math.ceil(bytes.length / 100) }, (__, n) =>
      bytes.subarray(n * 100, n * 100 + 100),
    );
    expect(readAll((reader) => reader.startChunked(), pieces).malformed).toBe(true);
  });
});

describe("a body with a length", () => {
  it("takes as many bytes, and no more", () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 300 }),
        fc.uint8Array({ maxLength: 400 }),
        fc.array(fc.nat(), { maxLength: 6 }),
        (length, bytes, places) => {
          const all = Buffer.from(bytes);
          const got = readAll((reader) => reader.startLength(length), cut(all, places));
          expect(got.body).toBe(all.toString("latin1", 0, length));
          expect(got.rest).toBe(all.toString("latin1", length));
          expect(got.reader.ended).toBe(bytes.length >= length);
        },
      ),
    );
  });
});
