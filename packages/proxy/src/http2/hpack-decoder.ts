/**
 * Reads header blocks (RFC 7541). One for each direction of a connection, because blocks change its table: a
 * block whose fields are not wanted any more has to be read all the same, or the next one means something else.
 */
import {
  INDEXED,
  NEVER_INDEXED,
  NOT_INDEXED,
  STATIC_FIELDS,
  readField,
  readName,
  type HpackField,
  type Indexing,
  type Name,
} from "./hpack-fields.ts";
import { DEFAULT_TABLE_BYTES, FIELD_OVERHEAD, STATIC_COUNT } from "./tables.ts";

/** Why a block cannot be read. Each is a COMPRESSION_ERROR of the connection (RFC 9113 §4.3). */
export type HpackFault =
  | "index" // of no entry (§2.3.3)
  | "integer" // larger than anything that is legal (§5.1)
  | "truncated" // the block ends inside of a field
  | "huffman" // no code, or the wrong padding (§5.2)
  | "table_size" // a larger table than was offered (§6.3)
  | "late_update" // a table size behind the first field (§4.2)
  | "many_updates"; // more than two of them (§4.2)

/** No text or table here is as long; five bytes of a number are more than enough. */
const MAX_INTEGER = 0x0fff_ffff;
/** The smallest size since the last block, and the one that holds now (§4.2). More would be work for nothing. */
const MAX_UPDATES = 2;

export interface HeadLimits {
  /** Bytes of a head, as RFC 9113 §6.5.2 counts them. */
  readonly maxBytes: number;
  readonly maxCount: number;
}

/** What a block says, in its order. A decoder fills it anew with each block, which takes no memory. */
export class HeadFields {
  /** `count` of them; what stands behind those is of an earlier block. */
  readonly list: HpackField[] = [];
  count = 0;
  /** As RFC 9113 §6.5.2 counts, of fields that were left out too. */
  bytes = 0;
  /** There were more fields, or more bytes of them, than the limits: the rest was left out. */
  tooLarge = false;
}

export class HpackDecoder {
  readonly #offeredBytes: number;
  #tableLimit: number;
  #tableBytes = 0;
  /** A ring, so that an entry which goes moves no others. */
  #ring: (HpackField | undefined)[] = Array.from({ length: 16 }, () => undefined);
  /** Place of the newest entry. */
  #newest = 0;
  #count = 0;
  #at = 0;
  #fault: HpackFault | undefined = undefined;
  #value = 0;

  /** `tableBytes`: what SETTINGS_HEADER_TABLE_SIZE offers. */
  constructor(tableBytes: number = DEFAULT_TABLE_BYTES) {
    this.#offeredBytes = tableBytes;
    this.#tableLimit = tableBytes;
  }

  /** Of the dynamic table, as §4.1 counts them. */
  get tableBytes(): number {
    return this.#tableBytes;
  }

  /** Reads the block `bytes[from..to)`. Keeps nothing of `bytes`. */
  decode(
    bytes: Buffer,
    from: number,
    to: number,
    into: HeadFields,
    limits: HeadLimits,
  ): HpackFault | undefined {
    this.#at = from;
    this.#fault = undefined;
    into.count = into.bytes = 0;
    into.tooLarge = false;
    let first = true;
    let updates = 0;
    while (this.#at < to) {
      const byte = bytes[this.#at]!;
      if ((byte & 0xe0) === 0x20) {
        if (!first) return "late_update";
        if (++updates > MAX_UPDATES) return "many_updates";
        if (!this.#integer(bytes, to, 5)) return this.#fault;
        if (this.#value > this.#offeredBytes) return "table_size";
        this.#tableLimit = this.#value;
        this.#evict(0);
        continue;
      }
      first = false;
      const field = byte >= 0x80 ? this.#indexed(bytes, to) : this.#literal(bytes, to, byte);
      if (field === undefined) return this.#fault;
      into.bytes += field.size;
      if (into.bytes > limits.maxBytes || into.count >= limits.maxCount) into.tooLarge = true;
      else into.list[into.count++] = field;
    }
    return undefined;
  }

  #indexed(bytes: Buffer, to: number): HpackField | undefined {
    if (!this.#integer(bytes, to, 7)) return undefined;
    return this.#entry(this.#value);
  }

  #literal(bytes: Buffer, to: number, byte: number): HpackField | undefined {
    const indexing: Indexing =
      byte >= 0x40 ? INDEXED : (byte & 0x10) === 0 ? NOT_INDEXED : NEVER_INDEXED;
    if (!this.#integer(bytes, to, indexing === INDEXED ? 6 : 4)) return undefined;
    let name: Name | undefined;
    if (this.#value === 0) {
      const huffman = this.#at < to && bytes[this.#at]! >= 0x80;
      if (!this.#string(bytes, to)) return undefined;
      name = readName(bytes, this.#at - this.#value, this.#at, huffman);
      if (name === undefined) return this.#failed("huffman");
    } else {
      const entry = this.#entry(this.#value);
      if (entry === undefined) return undefined;
      name = entry.key;
    }
    const huffman = this.#at < to && bytes[this.#at]! >= 0x80;
    if (!this.#string(bytes, to)) return undefined;
    const field = readField(name, bytes, this.#at - this.#value, this.#at, huffman, indexing);
    if (field === undefined) return this.#failed("huffman");
    if (indexing === INDEXED) this.#insert(field);
    return field;
  }

  /** Reads the length of a text and goes behind the text; `#value` is the length. */
  #string(bytes: Buffer, to: number): boolean {
    if (this.#at >= to) return this.#failed("truncated") !== undefined;
    if (!this.#integer(bytes, to, 7)) return false;
    if (this.#value > to - this.#at) return this.#failed("truncated") !== undefined;
    this.#at += this.#value;
    return true;
  }

  /** §5.1, into `#value`. */
  #integer(bytes: Buffer, to: number, prefixBits: number): boolean {
    const most = (1 << prefixBits) - 1;
    let value = bytes[this.#at++]! & most;
    if (value === most) {
      let shift = 0;
      let byte: number;
      do {
        if (this.#at >= to) return this.#failed("truncated") !== undefined;
        byte = bytes[this.#at++]!;
        // Zeros behind the number would make it any length.
        if (shift > 21 && byte > 0x7f) return this.#failed("integer") !== undefined;
        value += (byte & 0x7f) * 2 ** shift;
        shift += 7;
      } while (byte > 0x7f);
      if (value > MAX_INTEGER) return this.#failed("integer") !== undefined;
    }
    this.#value = value;
    return true;
  }

  #failed(fault: HpackFault): undefined {
    this.#fault = fault;
    return undefined;
  }

  #entry(index: number): HpackField | undefined {
    if (index <= STATIC_COUNT) return index === 0 ? this.#failed("index") : STATIC_FIELDS[index];
    const back = index - STATIC_COUNT - 1;
    if (back >= this.#count) return this.#failed("index");
    return this.#ring[(this.#newest - back) & (this.#ring.length - 1)];
  }

  #insert(field: HpackField): void {
    // Larger than the table: it empties it, and is no error (§4.4).
    this.#evict(field.size);
    if (field.size > this.#tableLimit) return;
    if (this.#count === this.#ring.length) this.#grow();
    this.#newest = (this.#newest + 1) & (this.#ring.length - 1);
    this.#ring[this.#newest] = field;
    this.#count++;
    this.#tableBytes += field.size;
  }

  #evict(neededBytes: number): void {
    while (this.#count > 0 && this.#tableBytes + neededBytes > this.#tableLimit) {
      const oldest = (this.#newest - this.#count + 1) & (this.#ring.length - 1);
      this.#tableBytes -= this.#ring[oldest]!.size;
      this.#ring[oldest] = undefined;
      this.#count--;
    }
  }

  /** Bounded by the table: an entry has at least 32 bytes. */
  #grow(): void {
    const ring: (HpackField | undefined)[] = Array.from(
      { length: Math.min(this.#ring.length * 2, ringSize(this.#offeredBytes)) },
      () => undefined,
    );
    for (let back = 0; back < this.#count; back++) {
      ring[this.#count - 1 - back] = this.#ring[(this.#newest - back) & (this.#ring.length - 1)];
    }
    this.#newest = this.#count - 1;
    this.#ring = ring;
  }
}

function ringSize(tableBytes: number): number {
  let size = 16;
  while (size * FIELD_OVERHEAD < tableBytes) size *= 2;
  return size;
}
