/** What a connection speaks, from its first bytes: whatever their number per packet, and whatever they are. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MAX_CLIENT_HELLO_BYTES, readClientHello } from "./client-hello.ts";
import { detect, MAX_DETECT_BYTES, type Detection } from "./detect.ts";

const bytes = (text: string): Buffer => Buffer.from(text, "latin1");

/** As a client that sends byte by byte: what is decided first, and after how many bytes. */
function byteByByte(all: Buffer): { found: Detection | undefined; after: number } {
  for (let after = 1; after <= all.length; after++) {
    const found = detect(all.subarray(0, after));
    if (found !== undefined) return { found, after };
  }
  return { found: undefined, after: all.length };
}

/** A ClientHello in records of `recordBytes`. */
function clientHello(serverName: string | undefined, padding = 0, recordBytes = 16_384): Buffer {
  const name = bytes(serverName ?? "");
  const sni = Buffer.concat([
    Buffer.from([0, 0]),
    number(2, name.length + 5),
    number(2, name.length + 3),
    Buffer.from([0]),
    number(2, name.length),
    name,
  ]);
  const keyShare = Buffer.concat([Buffer.from([0, 51]), number(2, padding), Buffer.alloc(padding)]);
  const extensions = Buffer.concat([keyShare, ...(serverName === undefined ? [] : [sni])]);
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 7),
    Buffer.from([32]),
    Buffer.alloc(32, 9),
    number(2, 4),
    Buffer.from([0x13, 0x01, 0x13, 0x02]),
    Buffer.from([1, 0]),
    number(2, extensions.length),
    extensions,
  ]);
  const hello = Buffer.concat([Buffer.from([1]), number(3, body.length), body]);
  const records: Buffer[] = [];
  for (let at = 0; at < hello.length; at += recordBytes) {
    const piece = hello.subarray(at, at + recordBytes);
    records.push(Buffer.from([22, 3, 1]), number(2, piece.length), piece);
  }
  return Buffer.concat(records);
}

function number(size: number, value: number): Buffer {
  const buffer = Buffer.alloc(size);
  buffer.writeUIntBE(value, 0, size);
  return buffer;
}

describe("the protocol of a connection is found out from its first bytes", () => {
  it.each([
    ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "http1"],
    ["GET http://orders/v1 HTTP/1.1\r\n\r\n", "http1"],
    ["OPTIONS * HTTP/1.1\r\n\r\n", "http1"],
    ["CONNECT orders:443 HTTP/1.1\r\n\r\n", "http1"],
    ["PURGE /cache HTTP/1.1\r\n\r\n", "http1"],
    ["MKCALENDAR /a HTTP/1.0\r\n\r\n", "http1"],
    ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2"],
    ["PRI /x HTTP/1.1\r\n\r\n", "http1"],
    ["\r\nGET / HTTP/1.1\r\n\r\n", "http1"],
    ["\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n", "tcp"],
    ["\rGET / HTTP/1.1\r\n\r\n", "tcp"],
    ["\r\n\r\n\0\r\nQUIT\n", "tcp"],
    ["*1\r\n$4\r\nPING\r\n", "tcp"],
    ["SET key value\r\n", "tcp"],
    ["PING\r\n", "tcp"],
    ["EHLO mail.example\r\n", "tcp"],
    ["\0\0\0\x08\x04\xd2\x16\x2f", "tcp"],
    ["SSH-2.0-OpenSSH_9.2\r\n", "tcp"],
    ["GET key\r\n", "tcp"],
    [" GET / HTTP/1.1\r\n", "tcp"],
  ] as const)("%j is %s, at once and byte by byte", (text, protocol) => {
    expect(detect(bytes(text))?.protocol).toBe(protocol);
    expect(byteByByte(bytes(text)).found?.protocol).toBe(protocol);
  });

  it("does not wait for the end of a request line whose method and target leave no doubt", () => {
    expect(detect(bytes("GET /a"))?.protocol).toBe("http1");
    expect(detect(bytes("POST http://"))?.protocol).toBe("http1");
  });

  it.each(["", "G", "GET", "GET ", "GET h", "PRI * HTTP/2.0\r\n", "PURGE /x", "*"])(
    "waits for more behind %j",
    (text) => {
      expect(detect(bytes(text))).toBeUndefined();
    },
  );

  it("takes a line that has no end for TCP, and is decided with as many bytes as are kept", () => {
    expect(detect(bytes(`FOO ${"x".repeat(8_192)}`))?.protocol).toBe("tcp");
    const any = fc.uint8Array({ minLength: MAX_DETECT_BYTES, maxLength: MAX_DETECT_BYTES });
    fc.assert(
      fc.property(any, (one) => detect(Buffer.from(one)) !== undefined),
      { numRuns: 50 },
    );
    const unending = clientHello("orders.example", MAX_CLIENT_HELLO_BYTES - 100, 500);
    expect(
      detect(Buffer.concat([unending.subarray(0, 400), Buffer.alloc(MAX_DETECT_BYTES)])),
    ).toEqual({ protocol: "tcp" });
  });

  it("never throws, and what was decided does not change with more bytes", () => {
    const start = fc.constantFrom("GET ", "PRI * HT", "\x16\x03\x01", "POST /", "*3\r\n", "");
    fc.assert(
      fc.property(start, fc.uint8Array({ maxLength: 400 }), (head, rest) => {
        const all = Buffer.concat([bytes(head), rest]);
        const { found } = byteByByte(all);
        if (found !== undefined) expect(detect(all)).toEqual(found);
      }),
    );
  });
});

describe("the name in a TLS ClientHello", () => {
  it.each([
    [200, 16_384],
    [1_400, 16_384],
    [1_400, 100],
    [12_000, 4_000],
  ])("is found with %i bytes before it, in records of %i", (padding, recordBytes) => {
    const hello = clientHello("Orders.Example", padding, recordBytes);
    expect(detect(hello)).toEqual({ protocol: "tls", serverName: "orders.example" });
    const { after } = byteByByte(hello);
    expect(after).toBe(hello.length);
  });

  it("is none where the hello has none, or none that is a name", () => {
    expect(detect(clientHello(undefined))).toEqual({ protocol: "tls", serverName: undefined });
    for (const name of ["a..b", "-a", "a b", "a\0", "x".repeat(64), ""]) {
      expect(detect(clientHello(name))).toEqual({ protocol: "tls", serverName: undefined });
    }
  });

  it("of what is no ClientHello is TCP", () => {
    expect(readClientHello(Buffer.from([22, 3, 1, 0, 5, 2, 0, 0, 1, 0]))).toBe("wrong");
    expect(readClientHello(Buffer.from([22, 3, 1, 0, 0]))).toBe("wrong");
    expect(readClientHello(Buffer.from([22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff]))).toBe("wrong");
    expect(detect(Buffer.from([22, 3, 1, 0x7f, 0xff, 1]))).toEqual({ protocol: "tcp" });
  });

  it("is read within its bytes, whatever the lengths in it say", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 4, maxLength: 300 }), (body) => {
        const hello = Buffer.concat([Buffer.from([1]), number(3, body.length), body]);
        const record = Buffer.concat([Buffer.from([22, 3, 1]), number(2, hello.length), hello]);
        const read = readClientHello(record);
        expect(typeof read).toBe("object");
      }),
    );
  });
});
