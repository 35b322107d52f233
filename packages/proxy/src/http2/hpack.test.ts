import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  BAD_NAME,
  BAD_VALUE,
  CONNECTION_SPECIFIC,
  HpackField,
  INDEXED,
  NEVER_INDEXED,
  NOT_INDEXED,
  PSEUDO,
  nameOf,
  type Indexing,
} from "./hpack-fields.ts";
import { HeadFields, HpackDecoder, type HpackFault } from "./hpack-decoder.ts";
import { HpackEncoder } from "./hpack-encoder.ts";
import { decodeHuffman, encodeHuffman, huffmanLength } from "./huffman.ts";
import { Outgoing } from "./outgoing.ts";

type Pair = readonly [name: string, value: string];
const LIMITS = { maxBytes: 1_000_000, maxCount: 10_000 };

function bytesOf(hex: string): Buffer {
  return Buffer.from(hex.replaceAll(/\s/g, ""), "hex");
}

function read(decoder: HpackDecoder, hex: string): Pair[] | HpackFault {
  const bytes = bytesOf(hex);
  const fields = new HeadFields();
  const fault = decoder.decode(bytes, 0, bytes.length, fields, LIMITS);
  return fault ?? fields.list.map(({ name, value }) => [name, value]);
}

function written(encoder: HpackEncoder, fields: readonly HpackField[]): Buffer {
  const out = new Outgoing();
  encoder.begin(out);
  for (const field of fields) encoder.encode(field, out);
  return Buffer.from(out.taken());
}

const REQUESTS: Pair[][] = [
  [
    [":method", "GET"],
    [":scheme", "http"],
    [":path", "/"],
    [":authority", "www.example.com"],
  ],
  [
    [":method", "GET"],
    [":scheme", "http"],
    [":path", "/"],
    [":authority", "www.example.com"],
    ["cache-control", "no-cache"],
  ],
  [
    [":method", "GET"],
    [":scheme", "https"],
    [":path", "/index.html"],
    [":authority", "www.example.com"],
    ["custom-key", "custom-value"],
  ],
];
const RESPONSES: Pair[][] = [
  [
    [":status", "302"],
    ["cache-control", "private"],
    ["date", "Mon, 21 Oct 2013 20:13:21 GMT"],
    ["location", "https://www.example.com"],
  ],
  [
    [":status", "307"],
    ["cache-control", "private"],
    ["date", "Mon, 21 Oct 2013 20:13:21 GMT"],
    ["location", "https://www.example.com"],
  ],
  [
    [":status", "200"],
    ["cache-control", "private"],
    ["date", "Mon, 21 Oct 2013 20:13:22 GMT"],
    ["location", "https://www.example.com"],
    ["content-encoding", "gzip"],
    ["set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"],
  ],
];

/** RFC 7541, Appendix C: blocks of one connection, and the size of the table behind each. */
const EXAMPLES = [
  {
    name: "C.3 requests without Huffman coding",
    table: 4_096,
    blocks: [
      "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
      "8286 84be 5808 6e6f 2d63 6163 6865",
      "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ],
    heads: REQUESTS,
    sizes: [57, 110, 164],
  },
  {
    name: "C.4 requests with Huffman coding",
    table: 4_096,
    blocks: [
      "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
      "8286 84be 5886 a8eb 1064 9cbf",
      "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ],
    heads: REQUESTS,
    sizes: [57, 110, 164],
  },
  {
    name: "C.5 responses without Huffman coding, which evict entries",
    table: 256,
    blocks: [
      `4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a
       3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d`,
      "4803 3330 37c1 c0bf",
      `88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04
       677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49
       553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31`,
    ],
    heads: RESPONSES,
    sizes: [222, 222, 215],
  },
  {
    name: "C.6 responses with Huffman coding, which evict entries",
    table: 256,
    blocks: [
      `4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e
       919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3`,
      "4883 640e ffc1 c0bf",
      `88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7
       821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed
       4ee5 b106 3d50 07`,
    ],
    heads: RESPONSES,
    sizes: [222, 222, 215],
  },
];

describe("the examples of RFC 7541", () => {
  test.each(EXAMPLES)("$name", ({ table, blocks, heads, sizes }) => {
    const decoder = new HpackDecoder(table);
    for (const [at, block] of blocks.entries()) {
      expect(read(decoder, block)).toEqual(heads[at]);
      expect(decoder.tableBytes).toBe(sizes[at]);
    }
  });

  test.each([
    [
      "C.2.1 with indexing",
      "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
      ["custom-key", "custom-header"],
      INDEXED,
      55,
    ],
    [
      "C.2.2 without indexing",
      "040c 2f73 616d 706c 652f 7061 7468",
      [":path", "/sample/path"],
      NOT_INDEXED,
      0,
    ],
    [
      "C.2.3 never indexed",
      "1008 7061 7373 776f 7264 0673 6563 7265 74",
      ["password", "secret"],
      NEVER_INDEXED,
      0,
    ],
    ["C.2.4 indexed", "82", [":method", "GET"], INDEXED, 0],
  ] as const)("%s", (_, block, pair, indexing, size) => {
    const decoder = new HpackDecoder();
    const bytes = bytesOf(block);
    const fields = new HeadFields();
    expect(decoder.decode(bytes, 0, bytes.length, fields, LIMITS)).toBeUndefined();
    expect(fields.list).toHaveLength(1);
    expect([fields.list[0]!.name, fields.list[0]!.value]).toEqual(pair);
    expect(fields.list[0]!.indexing).toBe(indexing);
    expect(decoder.tableBytes).toBe(size);
  });
});

describe("what is no header block", () => {
  test.each<[string, string, HpackFault]>([
    ["index 0", "80", "index"],
    ["an index behind the static table, with no dynamic one", "be", "index"],
    ["the name of an entry that is not there", "7f00 0161", "index"],
    ["a number of six bytes", "ff80 8080 8080 00", "integer"],
    ["a number of five bytes that is larger than any text", "ffff ffff ff7f", "integer"],
    ["a number that does not end", "ff80", "truncated"],
    ["a literal without a name", "40", "truncated"],
    ["a name that is longer than the block", "400a 6375", "truncated"],
    ["a literal without a value", "4001 61", "truncated"],
    ["a value that is longer than the block", "4001 6105 61", "truncated"],
    ["Huffman padding with zeros", "0001 6181 18", "huffman"],
    ["a whole byte of Huffman padding", "0001 6182 1fff", "huffman"],
    ["the end-of-string symbol", "0001 6184 ffff ffff", "huffman"],
    ["a name in no Huffman code", "0081 1801 61", "huffman"],
    ["a table that is larger than offered", "3fe2 1f", "table_size"],
    ["a table size behind a field", "8220", "late_update"],
    ["a third table size", "20 20 3fe1 1f 82", "many_updates"],
  ])("%s", (_, block, fault) => {
    expect(read(new HpackDecoder(), block)).toBe(fault);
  });

  test("table sizes are taken at the start of a block: the smaller one evicts", () => {
    const decoder = new HpackDecoder();
    read(decoder, "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572");
    expect(read(decoder, "20 3fe1 1f 82")).toEqual([[":method", "GET"]]);
    expect(decoder.tableBytes).toBe(0);
    expect(read(decoder, "be")).toBe("index");
  });

  test("bytes that are no block end in a fault or in fields, and never in an exception", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 4 }), (blocks) => {
        const decoder = new HpackDecoder();
        for (const block of blocks) {
          const fields = new HeadFields();
          const fault = decoder.decode(Buffer.from(block), 0, block.length, fields, LIMITS);
          expect(decoder.tableBytes).toBeLessThanOrEqual(4_096);
          if (fault !== undefined) return;
        }
      }),
      { numRuns: 3_000 },
    );
  });
});

describe("limits", () => {
  test("references to a large entry cost neither memory nor the connection", () => {
    const decoder = new HpackDecoder();
    const entry = Buffer.concat([
      bytesOf("4001 617f a11e"), // a value of 4,000 bytes
      Buffer.alloc(4_000, "x"),
    ]);
    const fields = new HeadFields();
    expect(decoder.decode(entry, 0, entry.length, fields, LIMITS)).toBeUndefined();
    expect(fields.list[0]!.value).toHaveLength(4_000);
    const bomb = Buffer.alloc(16_000, 0xbe);
    const few = new HeadFields();
    const limits = { maxBytes: 16_384, maxCount: 100 };
    expect(decoder.decode(bomb, 0, bomb.length, few, limits)).toBeUndefined();
    expect(few.tooLarge).toBe(true);
    expect(few.list).toHaveLength(4);
    // What was left out has not changed the table, and the next block is read as ever.
    expect(decoder.decode(Buffer.from([0x82]), 0, 1, few, limits)).toBeUndefined();
    expect([few.count, few.bytes, few.tooLarge]).toEqual([1, 42, false]);
    expect(few.list[0]).toMatchObject({ name: ":method", value: "GET" });
  });

  test("fields beyond the count are left out, and those with indexing are still in the table", () => {
    const decoder = new HpackDecoder();
    const bytes = bytesOf("82 84 4001 6101 62");
    const fields = new HeadFields();
    decoder.decode(bytes, 0, bytes.length, fields, { maxBytes: 16_384, maxCount: 2 });
    expect(fields.tooLarge).toBe(true);
    expect(fields.list).toHaveLength(2);
    expect(read(decoder, "be")).toEqual([["a", "b"]]);
  });
});

describe("fields", () => {
  test.each([
    ["content-type", "text/plain", 0],
    [":path", "/", PSEUDO],
    [":", "x", PSEUDO | BAD_NAME],
    ["Content-Type", "text/plain", BAD_NAME],
    ["", "x", BAD_NAME],
    ["a b", "x", BAD_NAME],
    ["a:b", "x", BAD_NAME],
    ["a\r\nb", "x", BAD_NAME],
    ["\u00e9", "x", BAD_NAME],
    ["a", "x\r\ny: z", BAD_VALUE],
    ["a", "x\0", BAD_VALUE],
    ["a", " x", BAD_VALUE],
    ["a", "x\t", BAD_VALUE],
    ["a", "x\ty \u00e9", 0],
    ["a", "", 0],
    ["connection", "close", CONNECTION_SPECIFIC],
    ["transfer-encoding", "chunked", CONNECTION_SPECIFIC],
  ])("%j: %j", (name, value, flags) => {
    expect(new HpackField(nameOf(name), value, INDEXED).flags).toBe(flags);
  });

  test("a field that comes again is the same object; those that differ mostly, or are never indexed, are not kept", () => {
    const decoder = new HpackDecoder();
    const twice = (hex: string): (HpackField | undefined)[] => {
      const bytes = bytesOf(hex);
      return [1, 2].map(() => {
        const fields = new HeadFields();
        decoder.decode(bytes, 0, bytes.length, fields, LIMITS);
        return fields.list[0];
      });
    };
    const [first, second] = twice("0f10 0474 6578 74"); // content-type
    expect(second).toBe(first);
    const [path, again] = twice("040c 2f73 616d 706c 652f 7061 7468");
    expect(again).toEqual(path);
    expect(again).not.toBe(path);
    const [one, other] = twice("1008 7061 7373 776f 7264 0673 6563 7265 74");
    expect(other).toEqual(one);
    expect(other).not.toBe(one);
  });
});

const byte = fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code));
const text = fc.string({ unit: byte, maxLength: 200 });
const field = fc
  .tuple(
    fc.oneof(
      fc.constantFrom(":path", "cookie", "authorization", "x-a", "content-type"),
      fc.string({ unit: byte, minLength: 1, maxLength: 80 }),
    ),
    fc.oneof(fc.constantFrom("", "/", "x", "text/plain"), text),
    fc.constantFrom<Indexing>(INDEXED, NOT_INDEXED, NEVER_INDEXED),
  )
  .map(([name, value, indexing]) => new HpackField(nameOf(name), value, indexing));

describe("round trips", () => {
  test("every text comes back from the Huffman code", () => {
    fc.assert(
      fc.property(text, (value) => {
        const coded = Buffer.alloc(1_000);
        const length = encodeHuffman(value, coded, 0);
        expect(length).toBe(huffmanLength(value));
        const back = Buffer.alloc(2_000);
        const bytes = decodeHuffman(coded, 0, length, back);
        expect(back.toString("latin1", 0, bytes)).toBe(value);
      }),
      { numRuns: 1_000 },
    );
  });

  test("heads come back through tables of changing sizes, and stay never indexed", () => {
    const step = fc.tuple(
      fc.option(fc.integer({ min: 0, max: 4_096 }), { nil: undefined }),
      fc.array(field, { maxLength: 12 }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        const encoder = new HpackEncoder();
        const decoder = new HpackDecoder();
        for (const [size, fields] of steps) {
          if (size !== undefined) encoder.resize(size);
          const block = written(encoder, fields);
          const back = new HeadFields();
          expect(decoder.decode(block, 0, block.length, back, LIMITS)).toBeUndefined();
          expect(back.list.map(({ name, value }) => [name, value])).toEqual(
            fields.map(({ name, value }) => [name, value]),
          );
          for (const [at, one] of fields.entries()) {
            if (one.indexing === NEVER_INDEXED) expect(back.list[at]!.indexing).toBe(NEVER_INDEXED);
          }
          expect(decoder.tableBytes).toBe(encoder.tableBytes);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("a field that was sent before is one byte", () => {
    const encoder = new HpackEncoder();
    const fields = [new HpackField(nameOf("x-tenant"), "acme", INDEXED)];
    expect(written(encoder, fields).length).toBeGreaterThan(10);
    expect(written(encoder, fields).length).toBe(1);
  });
});
