/**
 * Writes header blocks (RFC 7541). Which fields go into the table is the choice of who sent them, as far as a
 * field of that name is worth it; what is never indexed stays never indexed (§6.2.3).
 *
 * A text that goes into the table is sent once, so it is compressed; one that is sent with each message is not,
 * because peers of a proxy are near and its CPU is dearer than their bytes.
 */
import { INDEXED, NEVER_INDEXED, type HpackField, type Name } from "./hpack-fields.ts";
import { encodeHuffman, huffmanLength } from "./huffman.ts";
import type { Outgoing } from "./outgoing.ts";
import { DEFAULT_TABLE_BYTES, STATIC_COUNT } from "./tables.ts";

const NO_UPDATE = -1;
/** A number takes at most five bytes. */
const INTEGER_BYTES = 5;
/** Longer texts are copied by the runtime, shorter ones are faster in a loop. */
const SHORT_TEXT = 64;

export class HpackEncoder {
  readonly #maxTableBytes: number;
  #tableLimit: number;
  #tableBytes = 0;
  /** The oldest stands at `#first`. */
  #entries: HpackField[] = [];
  #first = 0;
  /** How many were ever inserted: an entry's number is its place in that order. */
  #inserted = 0;
  readonly #byField = new Map<HpackField, number>();
  readonly #byName = new Map<Name, number>();
  /** The smallest size since the last block, where the size was changed (§4.2). */
  #smallest = NO_UPDATE;

  /** `maxTableBytes`: a bound for what the peer offers. */
  constructor(maxTableBytes: number = DEFAULT_TABLE_BYTES) {
    this.#maxTableBytes = maxTableBytes;
    this.#tableLimit = Math.min(maxTableBytes, DEFAULT_TABLE_BYTES);
    if (this.#tableLimit !== DEFAULT_TABLE_BYTES) this.#smallest = this.#tableLimit;
  }

  get tableBytes(): number {
    return this.#tableBytes;
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  resize(offeredBytes: number): void {
    const limit = Math.min(offeredBytes, this.#maxTableBytes);
    if (limit === this.#tableLimit) return;
    this.#tableLimit = limit;
    this.#smallest = this.#smallest === NO_UPDATE ? limit : Math.min(this.#smallest, limit);
    this.#evict(0);
  }

  /** What stands before the first field of a block: sizes that the peer has to know. */
  begin(out: Outgoing): void {
    if (this.#smallest === NO_UPDATE) return;
    out.reserve(2 * INTEGER_BYTES);
    if (this.#smallest < this.#tableLimit) writeInteger(out, 0x20, 5, this.#smallest);
    writeInteger(out, 0x20, 5, this.#tableLimit);
    this.#smallest = NO_UPDATE;
  }

  encode(field: HpackField, out: Outgoing): void {
    const { staticIndex, key } = field;
    out.reserve(field.size + 2 * INTEGER_BYTES);
    if (staticIndex !== 0 && field.indexing !== NEVER_INDEXED) {
      out.buffer[out.at++] = 0x80 | staticIndex;
      return;
    }
    if (field.indexing !== INDEXED) {
      const never = field.indexing === NEVER_INDEXED;
      this.#writeName(out, never ? 0x10 : 0, 4, key, false);
      writeText(out, field.value, false);
      return;
    }
    const number = this.#byField.get(field);
    if (number !== undefined) {
      writeInteger(out, 0x80, 7, this.#index(number));
      return;
    }
    if (field.size > this.#tableLimit) {
      // It would only empty the table.
      this.#writeName(out, 0, 4, key, true);
      writeText(out, field.value, true);
      return;
    }
    this.#evict(field.size);
    this.#writeName(out, 0x40, 6, key, true);
    writeText(out, field.value, true);
    this.#insert(field);
  }

  #writeName(out: Outgoing, pattern: number, bits: number, name: Name, compress: boolean): void {
    let index = name.staticIndex;
    if (index === 0) {
      const number = this.#byName.get(name);
      if (number !== undefined) index = this.#index(number);
    }
    writeInteger(out, pattern, bits, index);
    if (index === 0) writeText(out, name.text, compress);
  }

  #index(number: number): number {
    return STATIC_COUNT + this.#inserted - number;
  }

  #insert(field: HpackField): void {
    this.#entries.push(field);
    this.#byField.set(field, this.#inserted);
    if (field.key.staticIndex === 0) this.#byName.set(field.key, this.#inserted);
    this.#inserted++;
    this.#tableBytes += field.size;
  }

  #evict(neededBytes: number): void {
    const kept = Math.max(0, this.#tableLimit - neededBytes);
    while (this.#tableBytes > kept) {
      const field = this.#entries[this.#first]!;
      const number = this.#inserted - (this.#entries.length - this.#first);
      this.#first++;
      this.#tableBytes -= field.size;
      if (this.#byField.get(field) === number) this.#byField.delete(field);
      if (this.#byName.get(field.key) === number) this.#byName.delete(field.key);
    }
    if (this.#first > 64 && this.#first * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#first);
      this.#first = 0;
    }
  }
}

/** §5.1. There is room for it. */
function writeInteger(out: Outgoing, pattern: number, bits: number, value: number): void {
  const { buffer } = out;
  const most = (1 << bits) - 1;
  if (value < most) {
    buffer[out.at++] = pattern | value;
    return;
  }
  buffer[out.at++] = pattern | most;
  let rest = value - most;
  while (rest > 0x7f) {
    buffer[out.at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  buffer[out.at++] = rest;
}

function writeText(out: Outgoing, text: string, compress: boolean): void {
  const { length } = text;
  if (compress) {
    const bytes = huffmanLength(text);
    if (bytes < length) {
      writeInteger(out, 0x80, 7, bytes);
      out.at = encodeHuffman(text, out.buffer, out.at);
      return;
    }
  }
  writeInteger(out, 0, 7, length);
  if (length > SHORT_TEXT) out.buffer.write(text, out.at, length, "latin1");
  else for (let i = 0; i < length; i++) out.buffer[out.at + i] = text.charCodeAt(i);
  out.at += length;
}
