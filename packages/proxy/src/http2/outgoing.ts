/**
 * What a connection is going to write, gathered in one buffer: everything of one turn leaves in one write,
 * because each write of a few bytes costs more than making them (shared design, proxy-facts, trap 2).
 */

const FIRST_BYTES = 16_384;
/** A buffer that one burst made large is not kept. */
const MAX_KEPT_BYTES = 262_144;

export class Outgoing {
  buffer: Buffer = Buffer.allocUnsafeSlow(FIRST_BYTES);
  /** Where the next byte goes. */
  at = 0;

  /** Makes room for so many bytes more. */
  reserve(bytes: number): void {
    const needed = this.at + bytes;
    if (needed <= this.buffer.length) return;
    let size = this.buffer.length;
    while (size < needed) size *= 2;
    const larger = Buffer.allocUnsafeSlow(size);
    this.buffer.copy(larger, 0, 0, this.at);
    this.buffer = larger;
  }

  /** What is to be written; a view, so it has to be given back by `written` or `keep`. */
  taken(): Buffer {
    return this.buffer.subarray(0, this.at);
  }

  /** The socket has passed everything on: the buffer is used again. */
  written(): void {
    this.at = 0;
    if (this.buffer.length > MAX_KEPT_BYTES) this.buffer = Buffer.allocUnsafeSlow(FIRST_BYTES);
  }

  /** The socket holds on to what it was given: the next bytes go elsewhere. */
  keep(): void {
    this.at = 0;
    this.buffer = Buffer.allocUnsafeSlow(FIRST_BYTES);
  }
}
