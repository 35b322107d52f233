/**
 * The limits that servers of every protocol have, with the reason for each default, and the check of what
 * an application gives. A protocol adds its own.
 */
import { unknownKeyRule } from "../config/did-you-mean.ts";
import { renderValue } from "../config/mistakes.ts";

export interface SharedLimits {
  /** Requests in progress; the rest is refused: 503, UNAVAILABLE. Bounds memory and the wait behind them. */
  readonly maxInFlight: number;
  /**
   * Milliseconds that the requests of one turn of the event loop may take while the loop is late by a third
   * of it all the time; the rest of the turn is refused. Less for a caller that would get its reply too
   * late. Infinity: not watched.
   */
  readonly maxLoopDelayMs: number;
  /** Share of V8's old generation in use, from 0 to 1, above which requests are refused; V8 ends the process at 1. Infinity: not watched. */
  readonly maxHeapRatio: number;
  /** Connections; above it none is accepted. */
  readonly maxConnections: number;
  /** A handshake: of TLS, and of HTTP/2 for gRPC. Node waits two minutes for the first and for ever for the second. */
  readonly handshakeTimeoutMs: number;
  /** Heads of all requests that a connection has in progress: 431, RESOURCE_EXHAUSTED, and it is closed. */
  readonly maxConnectionHeaderBytes: number;
  /** HTTP/2 streams of one connection. Node announces four billion. */
  readonly maxConcurrentStreams: number;
  /** HTTP/2 HPACK table in bytes. */
  readonly maxHeaderTableBytes: number;
  /**
   * Requests of an HTTP/2 connection that the client resets in a burst; a thirtieth of it per second is
   * forgotten. Node's default. What it gives up at its deadline, or after a second, is not counted.
   */
  readonly maxStreamResets: number;
  /** Share of a connection's requests that were reset, up to which more than `maxStreamResets` may be. 1: any. */
  readonly maxResetRatio: number;
  /** A connection, ± 10 %; then it is told to go, so that clients spread again. Infinity: for ever. */
  readonly maxConnectionAgeMs: number;
  /** A client that does not read what waits for it; then it is cut off. Node: for ever. */
  readonly writeStallTimeoutMs: number;
  /** A deadline as received; a longer one is cut to it. */
  readonly maxTimeoutMs: number;
  /** Servers of the mesh a request may come through: 508, INTERNAL. */
  readonly maxHops: number;
  readonly maxTracestateBytes: number;
  readonly maxBaggageBytes: number;
}

export const SHARED_LIMITS: SharedLimits = {
  maxInFlight: 4_096,
  maxLoopDelayMs: 1_000,
  maxHeapRatio: 0.95,
  maxConnections: 10_000,
  handshakeTimeoutMs: 10_000,
  maxConnectionHeaderBytes: 524_288,
  maxConcurrentStreams: 100,
  maxHeaderTableBytes: 4_096,
  maxStreamResets: 1_000,
  maxResetRatio: 0.5,
  maxConnectionAgeMs: 3_600_000,
  writeStallTimeoutMs: 30_000,
  maxTimeoutMs: 3_600_000,
  maxHops: 16,
  maxTracestateBytes: 512,
  maxBaggageBytes: 8_192,
};

/**
 * The given over the defaults. Throws a RangeError that names every limit that is none of ours, or no
 * number from 0 up. `owner`: the function that got them, such as `meshServer`.
 */
export function limitsOver<L extends SharedLimits>(
  owner: string,
  defaults: L,
  given: Partial<L> | undefined,
): L {
  if (given === undefined) return defaults;
  const mistakes: string[] = [];
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(defaults, name)) {
      mistakes.push(`limits.${name} ${unknownKeyRule(name, Object.keys(defaults))}`);
    } else if (typeof value !== "number" || !(value >= 0)) {
      mistakes.push(`limits.${name} must be a number from 0 up, is ${renderValue(value)}`);
    }
  }
  if (mistakes.length > 0) {
    throw new RangeError(mistakes.map((mistake) => `${owner}: ${mistake}`).join("\n"));
  }
  return { ...defaults, ...given };
}
