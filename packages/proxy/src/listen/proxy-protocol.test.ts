/** The PROXY protocol: what is written is read again, what is not exactly a header is refused, and nothing is read twice. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MAX_HEADER_BYTES, readHeader, writeHeader } from "./proxy-protocol.ts";

const bytes = (text: string): Buffer => Buffer.from(text, "latin1");
const port = fc.integer({ min: 0, max: 65_535 });
const v4 = fc.record({ address: fc.ipV4(), port });
const v6 = fc.record({
  address: fc
    .array(fc.integer({ min: 0, max: 0xffff }), { minLength: 8, maxLength: 8 })
    .map((words) => {
      const text = words.map((word) => word.toString(16)).join(":");
      return new URL(`http://[${text}]`).hostname.slice(1, -1);
    }),
  port,
});
const pair = fc.oneof(fc.tuple(v4, v4), fc.tuple(v6, v6));
const version = fc.constantFrom("v1" as const, "v2" as const);

describe("a header of the PROXY protocol", () => {
  it("is read as it was written, and takes no byte of what follows", () => {
    fc.assert(
      fc.property(
        version,
        pair,
        fc.uint8Array({ maxLength: 40 }),
        (which, [client, target], rest) => {
          const header = writeHeader(which, client, target);
          const read = readHeader(Buffer.concat([header, rest]));
          expect(read).toEqual({ length: header.length, client, target });
        },
      ),
    );
  });

  it("waits for more at every byte before its end", () => {
    fc.assert(
      fc.property(version, pair, (which, [client, target]) => {
        const header = writeHeader(which, client, target);
        for (let i = 0; i < header.length; i++)
          expect(readHeader(header.subarray(0, i))).toBe("more");
      }),
      { numRuns: 20 },
    );
  });

  it("says that the client is unknown where the families differ, or there is none", () => {
    const client = { address: "10.0.0.1", port: 1 };
    const target = { address: "::1", port: 2 };
    for (const which of ["v1", "v2"] as const) {
      for (const header of [
        writeHeader(which, client, target),
        writeHeader(which, undefined, target),
      ]) {
        expect(readHeader(header)).toEqual({
          length: header.length,
          client: undefined,
          target: undefined,
        });
      }
    }
  });

  it.each([
    "PROXY TCP4 10.0.0.1 10.0.0.2 1 2 \r\n",
    "PROXY TCP4 10.0.0.1 10.0.0.2 01 2\r\n",
    "PROXY TCP4 10.0.0.1 10.0.0.2 1 65536\r\n",
    "PROXY TCP4 10.0.0.1 10.0.0.2 1 -2\r\n",
    "PROXY TCP4 10.0.0.1 10.0.0.2 1\r\n",
    "PROXY TCP4  10.0.0.1 10.0.0.2 1 2\r\n",
    "PROXY TCP4 10.0.0.256 10.0.0.2 1 2\r\n",
    "PROXY TCP4 ::1 ::2 1 2\r\n",
    "PROXY TCP6 10.0.0.1 10.0.0.2 1 2\r\n",
    "PROXY TCP6 fe80::1%eth0 ::2 1 2\r\n",
    "PROXY tcp4 10.0.0.1 10.0.0.2 1 2\r\n",
    "PROXY UDP4 10.0.0.1 10.0.0.2 1 2\r\n",
    "PROXY UNKNOWNX\r\n",
    "proxy TCP4 10.0.0.1 10.0.0.2 1 2\r\n",
    `PROXY UNKNOWN ${"x".repeat(107)}\r\n`,
    "GET / HTTP/1.1\r\n\r\n",
    "\r\n\r\n\0\r\nQUIU\n\x21\x11\0\x0c",
  ])("%j is refused", (text) => {
    expect(readHeader(bytes(text))).toHaveProperty("wrong");
  });

  it("of version 2 is refused with another version, command, family or length", () => {
    const good = writeHeader(
      "v2",
      { address: "10.0.0.1", port: 1 },
      { address: "10.0.0.2", port: 2 },
    );
    const changed = (at: number, value: number): Buffer => {
      const copy = Buffer.from(good);
      copy[at] = value;
      return copy;
    };
    for (const wrong of [
      changed(12, 0x11),
      changed(12, 0x22),
      changed(13, 0x13),
      changed(13, 0x41),
      changed(15, 11),
      changed(14, 0x7f),
    ]) {
      expect(readHeader(wrong)).toHaveProperty("wrong");
    }
  });

  it("of version 2 may have TLVs, and families that are passed over", () => {
    const good = writeHeader(
      "v2",
      { address: "10.0.0.1", port: 1 },
      { address: "10.0.0.2", port: 2 },
    );
    const tlv = Buffer.from([0x04, 0, 3, 1, 2, 3]);
    const withTlv = Buffer.concat([good, tlv, bytes("GET ")]);
    withTlv.writeUInt16BE(12 + tlv.length, 14);
    expect(readHeader(withTlv)).toMatchObject({
      length: good.length + tlv.length,
      client: { port: 1 },
    });
    const socket = Buffer.concat([good.subarray(0, 16), Buffer.alloc(216)]);
    socket[13] = 0x31;
    socket.writeUInt16BE(216, 14);
    expect(readHeader(socket)).toEqual({ length: 232, client: undefined, target: undefined });
  });

  it("never throws, and is decided within a bound", () => {
    const start = fc.constantFrom("PROXY ", "PROXY TCP4 ", "\r\n\r\n\0\r\nQUIT\n\x21", "");
    fc.assert(
      fc.property(start, fc.uint8Array({ maxLength: 300 }), (head, rest) => {
        readHeader(Buffer.concat([bytes(head), rest]));
      }),
    );
    for (const head of ["PROXY ", "\r\n\r\n\0\r\nQUIT\n"]) {
      const all = Buffer.concat([bytes(head), Buffer.alloc(MAX_HEADER_BYTES, 0x21)]);
      expect(readHeader(all)).not.toBe("more");
    }
  });
});
