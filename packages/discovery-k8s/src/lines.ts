/** Lines of a watch: JSON objects, one each. Bytes may be cut anywhere, also within a character (faults.md D19). */

export const MAX_LINE_BYTES = 8_388_608;

export class Lines {
  #parts: Buffer[] = [];
  #bytes = 0;

  /** The lines that are complete now. Throws for one that is too long. */
  *push(chunk: Buffer): Generator<string, void> {
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      this.#keep(chunk.subarray(from, end));
      from = end + 1;
      const line = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts);
      this.#parts = [];
      this.#bytes = 0;
      if (line.length > 0) yield line.toString("utf8");
    }
    if (from < chunk.length) this.#keep(chunk.subarray(from));
  }

  #keep(part: Buffer): void {
    this.#bytes += part.length;
    if (this.#bytes > MAX_LINE_BYTES)
      throw new Error(`a line is longer than ${MAX_LINE_BYTES} bytes`);
    this.#parts.push(part);
  }
}
