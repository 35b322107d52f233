/**
 * How much the calls of one client keep of what they sent, so that they can send it again. A call
 * above its share, or the one by which all of them are above theirs, is sent all the same, once.
 */

/** gRPC's own values (gRFC A6): per call, and for all calls of a channel. */
const PER_CALL_BYTES = 1_048_576;
const TOTAL_BYTES = 16_777_216;
/** A message costs this much beside its bytes, so that empty ones are not free. */
const OVERHEAD_BYTES = 64;

export class ReplayBuffer {
  #total = 0;

  /** Bytes kept for all calls at the moment. */
  get bytes(): number {
    return this.#total;
  }

  /** Bytes that keeping a message takes, or 0 if there is no room. `kept`: what its call has so far. */
  take(kept: number, messageBytes: number): number {
    const bytes = messageBytes + OVERHEAD_BYTES;
    if (kept + bytes > PER_CALL_BYTES || this.#total + bytes > TOTAL_BYTES) return 0;
    this.#total += bytes;
    return bytes;
  }

  give(bytes: number): void {
    this.#total -= bytes;
  }
}
