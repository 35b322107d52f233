/**
 * Answers of DNS as they are written in the corpus, clause by clause with ` | ` between:
 *
 *   A AAAA CNAME NS MX TXT SOA SRV <owner> <ttl> <data>, N*… N times with the number for `#`
 *   RR <owner> <type> <class> <ttl> <hex>     auth, add: what follows goes into that section
 *   <owner>: @ the name asked for, ~ the same in capitals, ^12 a pointer, ^self one to itself, . the root
 *   rcode N   flags N   tc   id+N   q <name> <type>   noq   counts N N N N
 *   cut N (from the end if below zero)   raw <hex> behind it   whole <hex> instead of it   then: another packet
 *   wait N   silent   over TCP: silent-tcp end-tcp drip-tcp long-tcp zero-tcp tc-tcp
 *
 * What is written wrongly is left out.
 */
import { unescaped } from "./notation.ts";

const TYPES: Readonly<Record<string, number>> = {
  A: 1, NS: 2, CNAME: 5, SOA: 6, MX: 15, TXT: 16, AAAA: 28, SRV: 33,
}; // prettier-ignore
const MAX_BYTES = 65_000;

export interface Query {
  readonly id: number;
  readonly name: string;
  readonly type: number;
  /** As it was asked. */
  readonly question: Buffer;
}

export interface Answer {
  readonly packets: readonly Buffer[];
  readonly waitMs: number;
  readonly words: ReadonlySet<string>;
}

/** Of a query that is right, as ours are. */
export function readQuery(bytes: Buffer): Query | undefined {
  const labels: string[] = [];
  let at = 12;
  while (at < bytes.length && bytes[at] !== 0) {
    labels.push(bytes.toString("latin1", at + 1, at + 1 + bytes[at]!));
    at += 1 + bytes[at]!;
  }
  if (at + 5 > bytes.length) return undefined;
  return {
    id: bytes.readUInt16BE(0),
    name: labels.join("."),
    type: bytes.readUInt16BE(at + 1),
    question: bytes.subarray(12, at + 5),
  };
}

export function answerOf(text: string, query: Query, tcp: boolean): Answer {
  const clauses = text.split(" | ");
  const words = new Set(clauses);
  const waits = clauses.map((clause) => Number(/^wait (\d+)$/.exec(clause)?.[1] ?? 0));
  const packets: Buffer[] = [];
  let own: string[] = [];
  for (const clause of [...clauses, "then"]) {
    const [, times] = /^(?:(\d+)\*)?then$/.exec(clause) ?? [undefined, "none"];
    if (times === "none") {
      own.push(clause);
      continue;
    }
    const packet = packetOf(own, query, tcp);
    for (let i = 0; i < Math.min(Number(times ?? 1), 300); i++) packets.push(packet);
    own = [];
  }
  const silent = words.has("silent") || (tcp && words.has("silent-tcp"));
  return { packets: silent ? [] : packets, waitMs: Math.min(1_000, Math.max(0, ...waits)), words };
}

function packetOf(clauses: readonly string[], query: Query, tcp: boolean): Buffer {
  const sections: Buffer[][] = [[], [], []];
  let section = 0;
  let { id, question } = query;
  let flags = 0x8180;
  let counts: number[] | undefined;
  const behind: Buffer[] = [];
  const cuts: number[] = [];
  let at = 12 + question.length;
  for (const clause of clauses) {
    const [word = "", ...rest] = clause.split(" ");
    const numbers = rest.map((one) => Number(one) || 0);
    if (word === "auth") section = 1;
    else if (word === "add") section = 2;
    else if (word === "rcode") flags = (flags & ~15) | (numbers[0]! & 15);
    else if (word === "flags") flags = numbers[0]! & 0xffff;
    else if (word === "tc") flags |= tcp ? 0 : 0x200;
    else if (word === "tc-tcp") flags |= 0x200;
    else if (word.startsWith("id+")) id = (id + Number(word.slice(3)) || 0) & 0xffff;
    else if (word === "q")
      question = Buffer.concat([
        ownerOf(rest[0] ?? "", query, at),
        short(TYPES[rest[1] ?? "A"] ?? 1),
        short(1),
      ]);
    else if (word === "noq") question = Buffer.alloc(0);
    else if (word === "counts") counts = numbers;
    else if (word === "raw") behind.push(Buffer.from(rest[0] ?? "", "hex"));
    else if (word === "cut") cuts.push(numbers[0] ?? 0);
    else if (word === "whole") return Buffer.concat([short(id), Buffer.from(rest[0] ?? "", "hex")]);
    else {
      const [, times = "1", type = ""] = /^(?:(\d+)\*)?([A-Z]+)$/.exec(word) ?? [];
      for (let i = 0; i < Math.min(Number(times), 3_000) && at < MAX_BYTES; i++) {
        const record = recordOf(
          type,
          rest.map((one) => one.replaceAll("#", String(i))),
          query,
          at,
        );
        if (record.length > 0) sections[section]!.push(record);
        at += record.length;
      }
    }
  }
  const all = counts ?? [question.length > 0 ? 1 : 0, ...sections.map((one) => one.length)];
  const header = Buffer.concat([
    short(id),
    short(flags),
    ...[0, 1, 2, 3].map((i) => short(all[i] ?? 0)),
  ]);
  let packet = Buffer.concat([header, question, ...sections.flat(), ...behind]);
  for (const cut of cuts) packet = packet.subarray(0, cut < 0 ? packet.length + cut : cut);
  return packet.subarray(0, MAX_BYTES);
}

function recordOf(type: string, rest: readonly string[], query: Query, at: number): Buffer {
  const [owner = "", ...more] = rest;
  const name = ownerOf(owner, query, at);
  if (type === "RR") {
    const [number = 0, kind = 1, ttl = 0] = more.slice(0, 3).map((one) => Number(one) || 0);
    const data = Buffer.from(more[3] ?? "", "hex");
    return Buffer.concat([name, short(number), short(kind), long(ttl), short(data.length), data]);
  }
  const number = TYPES[type];
  if (number === undefined) return Buffer.alloc(0);
  const data = dataOf(type, more.slice(1), query, at);
  return Buffer.concat([
    name,
    short(number),
    short(1),
    long(Number(more[0]) || 0),
    short(data.length),
    data,
  ]);
}

function dataOf(type: string, values: readonly string[], query: Query, at: number): Buffer {
  const [first = "", second = "", third = "", fourth = ""] = values;
  const name = (text: string): Buffer => ownerOf(text, query, at);
  switch (type) {
    case "A":
      return Buffer.from(first.split(".").map(Number));
    case "AAAA":
      return Buffer.concat([Buffer.alloc(15), Buffer.from([Number(first.split(":").at(-1)) || 0])]);
    case "CNAME":
    case "NS":
      return name(first);
    case "MX":
      return Buffer.concat([short(10), name(first)]);
    case "TXT": {
      const text = Buffer.from(unescaped(first), "latin1").subarray(0, 255);
      return Buffer.concat([Buffer.from([text.length]), text]);
    }
    case "SRV":
      return Buffer.concat([
        short(Number(first) || 0),
        short(Number(second) || 0),
        short(Number(third) || 0),
        name(fourth),
      ]);
    default:
      return Buffer.concat([
        name("ns.test"),
        name("root.test"),
        long(1),
        long(60),
        long(60),
        long(60),
        long(60),
      ]);
  }
}

function ownerOf(text: string, query: Query, at: number): Buffer {
  if (text === "@") return ownerOf(query.name, query, at);
  if (text === "~") return ownerOf(query.name.toUpperCase(), query, at);
  const pointer = /^\^(self|\d+)$/.exec(text)?.[1];
  if (pointer !== undefined)
    return short(0xc000 | ((pointer === "self" ? at : Number(pointer)) & 0x3fff));
  const labels = unescaped(text)
    .split(".")
    .filter((label) => label !== "");
  return Buffer.concat([
    ...labels.map((label) =>
      Buffer.concat([Buffer.from([label.length & 255]), Buffer.from(label, "latin1")]),
    ),
    Buffer.from([0]),
  ]);
}

function short(value: number): Buffer {
  return Buffer.from([(value >> 8) & 255, value & 255]);
}

function long(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}
