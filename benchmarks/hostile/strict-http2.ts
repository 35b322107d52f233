/**
 * An independent reader of HTTP/2 requests: frames and header blocks (RFC 9113, RFC 7541) of a client,
 * as the requests that a server may understand. Header blocks with Huffman coding do not occur in the
 * corpus; a stream that has some is marked as `unread`, and compared with nothing.
 */
import type { Understood } from "./strict-http1.ts";

export interface Stream extends Understood {
  readonly unread: boolean;
  readonly contentType: string | undefined;
}

const STATIC = [
  ":authority=", ":method=GET", ":method=POST", ":path=/", ":path=/index.html", ":scheme=http", ":scheme=https",
  ":status=200", ":status=204", ":status=206", ":status=304", ":status=400", ":status=404", ":status=500",
]; // prettier-ignore
const STATIC_SIZE = 61;
const TABLE_BYTES = 4_096;
const PREFACE_BYTES = 24;
/** A field with a value that is none is dropped, as if it had not been sent. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/; // eslint-disable-line no-control-regex
/** … and so is a host that can be none (RFC 3986 §3.2). */
const AUTHORITY = /^[A-Za-z0-9\-._~!$&'()*+,;=:@[\]%]*$/;
/** A name that is none for another reason as well is dropped with its field, as if it had not been sent. */
const CAPITALS = /^[!#$%&'*+.^_`|~0-9A-Za-z-]*[A-Z][!#$%&'*+.^_`|~0-9A-Za-z-]*$/;
const FORBIDDEN = new Set([
  "connection",
  "proxy-connection",
  "keep-alive",
  "transfer-encoding",
  "upgrade",
]);

interface Building {
  block: Buffer[];
  fields: [string, string][] | undefined;
  body: Buffer[];
  ended: boolean;
}

/** Requests that are well formed, in the order of their streams' heads. */
export function readStreams(bytes: Buffer): Stream[] {
  const streams = new Map<number, Building>();
  const table = new Table();
  let open: { id: number; ends: boolean } | undefined;
  let last = 0;
  let stale: Building | undefined;
  for (let at = PREFACE_BYTES; at + 9 <= bytes.length;) {
    const length = bytes.readUIntBE(at, 3);
    const [type, flags] = [bytes[at + 3]!, bytes[at + 4]!];
    const id = bytes.readUInt32BE(at + 5) & 0x7fffffff;
    const payload = bytes.subarray(at + 9, at + 9 + length);
    if (payload.length < length || (open !== undefined && (type !== 9 || id !== open.id))) break;
    at += 9 + length;
    let stream = streams.get(id) ?? (open?.id === id ? stale : undefined);
    if (type === 1) {
      if (stream === undefined) {
        if (id % 2 === 0) break;
        stream = { block: [], fields: undefined, body: [], ended: false };
        // A stream behind a later one is closed (RFC 9113 §5.1.1): read for the table, and no request.
        if (id > last) streams.set(id, stream);
        else stale = stream;
        last = Math.max(id, last);
      }
      const content = unpadded(payload, flags, (flags & 0x20) !== 0 ? 5 : 0);
      if (content === undefined) break;
      stream.block.push(content);
      open = { id, ends: (flags & 1) !== 0 };
    } else if (type === 9) {
      if (open === undefined) break;
      stream!.block.push(payload);
    } else if (type === 0 && stream !== undefined) {
      const content = unpadded(payload, flags, 0);
      if (content === undefined) break;
      if (!stream.ended) stream.body.push(content);
      if ((flags & 1) !== 0) stream.ended = true;
    }
    if (open !== undefined && (flags & 4) !== 0) {
      const fields = table.read(Buffer.concat(stream!.block));
      stream!.block = [];
      // Behind the first block comes one of trailers.
      stream!.fields ??= fields;
      if (open.ends) stream!.ended = true;
      open = undefined;
    }
  }
  return [...streams.values()].flatMap((stream) => requestOf(stream) ?? []);
}

/** The first value of a field, as a server understands it; undefined: it must not understand any. */
function requestOf({ fields: sent, body, ended }: Building): Stream | undefined {
  if (sent === undefined) return undefined;
  const fields = sent.filter(([name, value]) => name.startsWith(":") || isValue(name, value));
  const content = Buffer.concat(body);
  const base = { method: "", target: "", host: undefined, contentType: undefined };
  if (fields.some(([name]) => name === HUFFMAN)) {
    return { ...base, body: content, whole: ended, unread: true };
  }
  const values = (wanted: string): string[] =>
    fields.flatMap(([name, value]) => (name === wanted ? [value] : []));
  const one = (wanted: string): string | undefined => values(wanted)[0];
  const pseudo = fields.map(([name]) => name.startsWith(":"));
  const wrong =
    (pseudo.lastIndexOf(true) > pseudo.indexOf(false) && pseudo.includes(false)) ||
    [":method", ":path", ":scheme"].some((name) => values(name).length !== 1) ||
    values(":authority").length > 1 ||
    fields.some(([name]) => CAPITALS.test(name) || FORBIDDEN.has(name)) ||
    values("te").some((value) => value !== "trailers") ||
    one(":scheme") !== "http" ||
    ["CONNECT", "TRACE"].includes(one(":method")!) ||
    /[#\0-\x20]/.test(one(":path")!); // eslint-disable-line no-control-regex
  if (wrong) return undefined;
  const [authority, host] = [one(":authority"), one("host")];
  if (authority !== undefined && host !== undefined && host !== authority) return undefined;
  const length = one("content-length");
  const whole = ended && (length === undefined || Number(length) === content.length);
  const about = { method: one(":method")!, target: one(":path")!, host: authority ?? host };
  return { ...about, contentType: one("content-type"), body: content, whole, unread: false };
}

function isValue(name: string, value: string): boolean {
  return (name === "host" ? AUTHORITY : VALUE).test(value);
}

function unpadded(payload: Buffer, flags: number, priority: number): Buffer | undefined {
  const padded = (flags & 8) !== 0;
  const padding = padded ? (payload[0] ?? 0) : 0;
  const start = (padded ? 1 : 0) + priority;
  return start + padding > payload.length
    ? undefined
    : payload.subarray(start, payload.length - padding);
}

const HUFFMAN = "huffman";

/** HPACK's tables, and a reader of blocks. */
class Table {
  readonly #entries: [string, string][] = [];
  #max = TABLE_BYTES;

  read(block: Buffer): [string, string][] {
    const fields: [string, string][] = [];
    let at = 0;
    const integer = (bits: number): number => {
      const mask = 2 ** bits - 1;
      let value = block[at++]! & mask;
      if (value < mask) return value;
      for (let shift = 1; ; shift *= 128) {
        const byte = block[at++] ?? 0;
        value += (byte & 127) * shift;
        if (byte < 128 || shift > 2 ** 40) return value;
      }
    };
    const text = (): string => {
      const huffman = (block[at] ?? 0) >= 128;
      const length = integer(7);
      const raw = block.toString("latin1", at, at + length);
      at += length;
      return huffman ? HUFFMAN : raw;
    };
    while (at < block.length && fields.length < 20_000) {
      const byte = block[at]!;
      if (byte >= 128) {
        fields.push(this.#get(integer(7)));
        continue;
      }
      if (byte >= 32 && byte < 64) {
        this.#max = integer(5);
        this.#evict();
        continue;
      }
      const index = integer(byte >= 64 ? 6 : 4);
      const name = index === 0 ? text() : this.#get(index)[0];
      const field: [string, string] = [name, text()];
      if (field[1] === HUFFMAN) field[0] = HUFFMAN;
      if (byte >= 64) {
        this.#entries.unshift(field);
        this.#evict();
      }
      fields.push(field);
    }
    return fields;
  }

  #get(index: number): [string, string] {
    if (index > STATIC_SIZE) return this.#entries[index - STATIC_SIZE - 1] ?? [HUFFMAN, ""];
    const [name = "", value = ""] = STATIC[index - 1]?.split("=") ?? [HUFFMAN];
    return [name, value];
  }

  #evict(): void {
    const size = (): number =>
      this.#entries.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0);
    while (this.#entries.length > 0 && size() > this.#max) this.#entries.pop();
  }
}
