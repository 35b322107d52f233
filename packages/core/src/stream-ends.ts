/**
 * How the streams of one HTTP/2 connection have ended, as far as it says that new ones belong on
 * another connection. Both protocols ask the same two questions, each with its own words for a stream.
 */

/**
 * Servers end a connection whose client resets too many streams, and with it every call that is in
 * progress there. So a client leaves first, while nothing is lost: no new streams, another connection
 * for those, and the old one closes with its last stream. The limits that are in use: Netty 200 resets
 * within 30 s, Envoy 250 (half of 500 streams) over the life of a connection, nghttp2 and with it Node
 * 1,000 at once and 33 per second; Go counts what handlers have not begun yet. Half of the lowest
 * leaves room for calls on the connection that are given up after it was left. It is a count
 * without a clock, because a limit over the life of a connection forgets nothing: a client that gives
 * up ten calls per second makes one connection every ten seconds.
 */
const MAX_RESETS = 100;
/**
 * Where a peer takes hundreds of streams at once, hundreds may be given up at once. The connection has
 * been left by then, and what is still wanted on it is worth more than to announce the end of the others.
 */
const LAST_RESETS = 150;
/**
 * A peer that refuses a stream is busy. One that refuses the next as well, and answers nothing in
 * between, has run out of something that belongs to this connection, such as Node's
 * `maxSessionMemory`. A single one may be the fault of its request.
 */
const MAX_REFUSALS = 2;

export class StreamEnds {
  /** The peer has answered a stream. */
  served = false;
  #resets = 0;
  /** Refused streams in a row. */
  #refusals = 0;

  /** The peer has begun to answer a stream. */
  answered(): void {
    this.served = true;
    this.#refusals = 0;
  }

  /** This side has reset a stream. True: no further ones belong on the connection. */
  reset(): boolean {
    return ++this.#resets >= MAX_RESETS;
  }

  /** A further reset could end the connection. */
  get resetsSpent(): boolean {
    return this.#resets >= LAST_RESETS;
  }

  /** The peer has refused a stream. True: further ones belong on another connection, if one may be dialled. */
  refused(): boolean {
    return ++this.#refusals >= MAX_REFUSALS;
  }
}
