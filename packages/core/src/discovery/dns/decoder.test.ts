/** Whatever bytes arrive: reading them gives a reply, nothing, or a DnsError. */
import { encode } from "dns-packet";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { normalAddress } from "./address.ts";
import { readAnswer } from "./answer.ts";
import { DnsError } from "./dns-error.ts";
import { type DnsQuery, type QueryType, readReply } from "./exchange.ts";

const ID = 4711;

function ask(type: QueryType): DnsQuery {
  const signal = new AbortController().signal;
  const server = { host: "127.0.0.1", port: 53 };
  return { server, name: "orders.test", type, timeoutMs: 1, edns: true, signal };
}

function packet(type: QueryType): Buffer {
  return encode({
    type: "response",
    id: ID,
    questions: [{ type, name: "orders.test", class: "IN" }],
    answers: [
      { type: "CNAME", name: "orders.test", data: "a.test", ttl: 9 },
      { type: "A", name: "a.test", data: "10.0.0.1", ttl: 9 },
      { type: "AAAA", name: "a.test", data: "2001:db8::1", ttl: 9 },
      { type: "SRV", name: "a.test", ttl: 9, data: { target: "b.test", port: 80 } },
    ],
    authorities: [
      { type: "SOA", name: "test", ttl: 9, data: { mname: "m", rname: "r", minimum: 3 } },
    ],
    additionals: [{ type: "A", name: "b.test", data: "10.0.0.2", ttl: 9 }],
  });
}

function read(bytes: Buffer, type: QueryType): void {
  const reply = readReply(bytes, ID, ask(type));
  if (reply === undefined) return;
  try {
    const found = readAnswer(reply, "orders.test", type);
    expect(found.addresses.every((address) => normalAddress(address) === address)).toBe(true);
    expect(found.hops).toBeLessThanOrEqual(8);
  } catch (error) {
    if (!(error instanceof DnsError)) throw error;
  }
}

/** A reply with one address, changed before it is read. */
function addressesOf(change: (bytes: Buffer) => void): readonly string[] {
  const bytes = encode({
    type: "response",
    id: ID,
    flags: 0x80,
    questions: [{ type: "A", name: "orders.test", class: "IN" }],
    answers: [{ type: "A", name: "orders.test", data: "10.0.0.1", ttl: 9 }],
  });
  change(bytes);
  return readAnswer(readReply(bytes, ID, ask("A"))!, "orders.test", "A").addresses;
}

const types = fc.constantFrom<QueryType>("A", "AAAA", "SRV");

describe("decoder", () => {
  it("D3 CO: mutated packets never throw outward", () => {
    const edits = fc.array(fc.tuple(fc.nat(250), fc.nat(255)), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(types, edits, fc.nat(60), (type, changes, cut) => {
        const bytes = Buffer.from(packet(type));
        for (const [at, value] of changes) bytes[12 + (at % (bytes.length - 12))] = value;
        read(bytes, type);
        read(bytes.subarray(0, bytes.length - cut), type);
      }),
      { numRuns: 3000 },
    );
  });

  it("D3 CO: arbitrary bytes behind a good header never throw outward", () => {
    fc.assert(
      fc.property(types, fc.uint8Array({ maxLength: 400 }), (type, tail) => {
        read(Buffer.concat([packet(type).subarray(0, 29), tail]), type);
        read(Buffer.from(tail), type);
      }),
      { numRuns: 1000 },
    );
  });

  it("R41 CO: an address of another class, or of a name that does not exist, is not believed", () => {
    expect(addressesOf(() => {})).toEqual(["10.0.0.1"]);
    // 10 bytes of the record stand before its 4 of data: type, class, time to live, length.
    expect(addressesOf((bytes) => bytes.writeUInt16BE(3, bytes.length - 12))).toEqual([]);
    expect(addressesOf((bytes) => (bytes[3] = 0x83))).toEqual([]);
  });

  it.each([
    ["address of four bytes", 1, "0a000001", true],
    ["address of three bytes", 1, "0a0000", false],
    ["address of five bytes", 1, "0a00000100", false],
    ["address of no bytes", 1, "", false],
    ["IPv6 address of 16 bytes", 28, "20010db8000000000000000000000001", true],
    ["IPv6 address of four bytes", 28, "0a000001", false],
    ["IPv6 address of 17 bytes", 28, "20010db800000000000000000000000100", false],
    ["alias", 5, "016100", true],
    ["alias by pointer", 5, "c00c", true],
    ["alias that goes on behind its length", 5, "0161", false],
    ["alias with a byte behind it", 5, "01610000", false],
    ["service", 33, "000100010050016100", true],
    ["service that is cut", 33, "0001", false],
    ["service whose name goes on behind its length", 33, "0001000100500161", false],
    ["text of any length", 16, "", true],
  ] as const)("R41 CO: the length of a record is that of its type: %s", (_, type, hex, fits) => {
    const head = encode({
      type: "response",
      id: ID,
      questions: [{ type: "A", name: "orders.test", class: "IN" }],
    });
    head.writeUInt16BE(2, 6);
    const record = (number: number, data: Buffer): Buffer => {
      const fields = Buffer.from("c00c0000000100000009", "hex");
      fields.writeUInt16BE(number, 2);
      const length = Buffer.from([data.length >> 8, data.length & 255]);
      return Buffer.concat([fields, length, data]);
    };
    // Bytes of the record behind it would be taken for its own.
    const next = record(1, Buffer.from([10, 0, 0, 2]));
    const bytes = Buffer.concat([head, record(type, Buffer.from(hex, "hex")), next]);
    expect(readReply(bytes, ID, ask("A")) !== undefined).toBe(fits);
  });

  it("D3 CO: a compression pointer to itself is no reply", () => {
    const bytes = Buffer.concat([packet("A").subarray(0, 12), Buffer.from([0xc0, 12, 0, 1, 0, 1])]);
    expect(readReply(bytes, ID, ask("A"))).toBeUndefined();
  });

  it("addresses have one text each", () => {
    expect(normalAddress("::FFFF:1.2.3.4")).toBe("1.2.3.4");
    expect(normalAddress("2001:0DB8:0:0:1:0:0:1")).toBe("2001:db8::1:0:0:1");
    expect(normalAddress("fe80:0::1%eth0")).toBe("fe80::1%eth0");
    expect(normalAddress("orders")).toBeUndefined();
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        const once = normalAddress(text)!;
        expect(normalAddress(once)).toBe(once);
      }),
    );
  });
});
