/**
 * How many bytes are kept so that they can be sent again, for many calls together. A mesh has one, which is
 * the bound of the process; a client may have a smaller share of it.
 */

/** Of a mesh: what four gRPC clients may keep (gRFC A6 gives each of them 16 MiB). */
const MESH_BYTES = 67_108_864;

export class ReplayMemory {
  readonly maxBytes: number;
  readonly #whole: ReplayMemory | undefined;
  #bytes = 0;

  /** `maxBytes`: default 64 MiB. `whole`: what this is a share of; default: nothing. */
  constructor(maxBytes: number = MESH_BYTES, whole?: ReplayMemory) {
    this.maxBytes = maxBytes;
    this.#whole = whole;
  }

  /** Kept at the moment. */
  get bytes(): number {
    return this.#bytes;
  }

  /** False: there is no room for them, and nothing was taken. */
  take(bytes: number): boolean {
    if (this.#bytes + bytes > this.maxBytes) return false;
    if (this.#whole?.take(bytes) === false) return false;
    this.#bytes += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#bytes -= bytes;
    this.#whole?.give(bytes);
  }
}
