/** A head that comes in several frames (RFC 9113 §4.3, §6.10): what of it is here. */

/** A compressed head that is longer than a legal one twice over is none. */
const BLOCK_RATIO = 2;
const MAX_CONTINUATIONS = 8;
const NONE = 0;

export class HeadBlock {
  readonly #maxBytes: number;
  /** Its stream; 0: no head is open. */
  stream: number = NONE;
  /** Nothing follows it. */
  ends = false;
  #bytes: Buffer | undefined = undefined;
  #length = 0;
  #continuations = 0;
  #ticks = 0;

  /** `maxHeaderBytes`: of a head that is legal. */
  constructor(maxHeaderBytes: number) {
    this.#maxBytes = BLOCK_RATIO * maxHeaderBytes;
  }

  get isOpen(): boolean {
    return this.stream !== NONE;
  }

  begin(stream: number, ends: boolean): void {
    this.stream = stream;
    this.ends = ends;
    this.#length = 0;
    this.#continuations = 0;
  }

  /** Counts a frame that goes on with it. False: these are too many. */
  goesOn(): boolean {
    return ++this.#continuations <= MAX_CONTINUATIONS;
  }

  /** False: it is too long. */
  add(bytes: Buffer, from: number, to: number): boolean {
    const length = this.#length + to - from;
    if (length > this.#maxBytes) return false;
    let block = this.#bytes;
    if (block === undefined || block.length < length) {
      const larger = Buffer.allocUnsafe(Math.max(length, 2 * (block?.length ?? 0)));
      block?.copy(larger, 0, 0, this.#length);
      this.#bytes = block = larger;
    }
    bytes.copy(block, this.#length, from, to);
    this.#length = length;
    return true;
  }

  /** It is whole: its bytes, which it keeps no longer. */
  take(): Buffer {
    const bytes = this.#bytes!.subarray(0, this.#length);
    this.stream = NONE;
    this.#ticks = 0;
    this.#bytes = undefined;
    return bytes;
  }

  /** Once a second: for how many of them it has been open. */
  tick(): number {
    this.#ticks = this.isOpen ? this.#ticks + 1 : 0;
    return this.#ticks;
  }
}
