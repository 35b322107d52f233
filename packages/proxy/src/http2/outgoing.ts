/**
 * What a connection is going to write, gathered in one buffer: everything of one turn leaves in one write,
 * because each write of a few bytes costs more than making them. Between turns a connection has no buffer: those
 * that are not in use are the process's, so thousands of idle connections hold none.
 */
import { free } from "../spent.ts";

const FIRST_BYTES = 16_384;
const MAX_SPARE = 32;
const NONE: Buffer = Buffer.alloc(0);
const spare: Buffer[] = [];

export class Outgoing {
  buffer: Buffer = NONE;
  /** Where the next byte goes. */
  at = 0;

  /** Makes room for so many bytes more. */
  reserve(bytes: number): void {
    const needed = this.at + bytes;
    if (needed <= this.buffer.length) return;
    const before = this.buffer;
    if (before === NONE && needed <= FIRST_BYTES) {
      this.buffer = spare.pop() ?? Buffer.allocUnsafeSlow(FIRST_BYTES);
      return;
    }
    let size = Math.max(before.length, FIRST_BYTES);
    while (size < needed) size *= 2;
    const larger = Buffer.allocUnsafeSlow(size);
    before.copy(larger, 0, 0, this.at);
    this.buffer = larger;
    giveBack(before);
  }

  /** What is to be written; a view, so it has to be given back by `written` or `keep`. */
  taken(): Buffer {
    return this.buffer.subarray(0, this.at);
  }

  /** The socket has passed everything on: the buffer is used again. */
  written(): void {
    this.at = 0;
    giveBack(this.buffer);
    this.buffer = NONE;
  }

  /** The socket holds on to what it was given: the next bytes go elsewhere. Gives the buffer, for `giveBack`. */
  keep(): Buffer {
    const kept = this.buffer;
    this.at = 0;
    this.buffer = NONE;
    return kept;
  }
}

/** Nothing reads it any more. One that a burst made larger is freed. */
export function giveBack(buffer: Buffer): void {
  if (buffer.length === FIRST_BYTES && spare.length < MAX_SPARE) spare.push(buffer);
  else free(buffer);
}
