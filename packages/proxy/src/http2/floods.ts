/**
 * What a connection of HTTP/2 may not send too much of: frames that cost more to take than to send, and that no
 * request or reply needs in such numbers. Resets of streams are counted elsewhere, because whether they are
 * misuse depends on the request (core's `Misuse`).
 */
import { Tally } from "@inmesh/core/spi";

/** A closed set: reasons of `snapshot().refused`. */
export type FloodKind = "pings" | "settings" | "frames" | "glitches";

export interface FloodLimits {
  readonly maxPings: number;
  readonly maxSettingsFrames: number;
  readonly maxGlitches: number;
}

const FORGET_PING_MS = 1_000;
const FORGET_SETTINGS_MS = 6_000;
const FORGET_GLITCH_MS = 10_000;
/** Frames without content between two with content. */
const MAX_EMPTY = 100;
/** PRIORITY, unknown frames and what comes for streams that have ended: at first, and more for each stream. */
const MAX_ASIDES = 100;
const ASIDES_PER_STREAM = 10;
/** WINDOW_UPDATE: at first, and more for each stream and each frame of a body that was sent. */
const MAX_UPDATES = 500;
const UPDATES_PER_FRAME = 10;

export class Floods {
  readonly #limits: FloodLimits;
  readonly #now: () => number;
  readonly #pings = new Tally();
  readonly #settings = new Tally();
  readonly #glitches = new Tally();
  #empty = 0;
  #asides = 0;
  #updates = 0;
  #unprovoked = 0;
  /** Streams of this connection so far. Writer: the connection. */
  streams = 0;
  /** Frames of heads and bodies that were sent so far. Writer: the connection. */
  sent = 0;
  #sentAtPing = 0;

  constructor(limits: FloodLimits, now: () => number) {
    this.#limits = limits;
    this.#now = now;
  }

  // Each gives true when it was once too often.

  /**
   * Peers measure round trips by pings while bodies come to them (gRPC for Go does, with each of its windows):
   * those that follow something that was sent are not counted.
   */
  ping(): boolean {
    if (this.sent > this.#sentAtPing) {
      this.#sentAtPing = this.sent;
      this.#unprovoked = 0;
      return false;
    }
    if (++this.#unprovoked === 1) return false;
    return this.#pings.add(this.#now(), this.#limits.maxPings, FORGET_PING_MS);
  }

  settings(): boolean {
    return this.#settings.add(this.#now(), this.#limits.maxSettingsFrames, FORGET_SETTINGS_MS);
  }

  glitch(): boolean {
    return this.#glitches.add(this.#now(), this.#limits.maxGlitches, FORGET_GLITCH_MS);
  }

  /** A frame of a head or body: `bytes` 0 and it ends nothing. */
  empty(): boolean {
    return ++this.#empty > MAX_EMPTY;
  }

  filled(): void {
    this.#empty = 0;
  }

  aside(): boolean {
    return ++this.#asides > MAX_ASIDES + ASIDES_PER_STREAM * this.streams;
  }

  windowUpdate(): boolean {
    return ++this.#updates > MAX_UPDATES + UPDATES_PER_FRAME * (this.streams + this.sent);
  }
}
