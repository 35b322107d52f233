/**
 * What a server lets one peer cost it: every count, size and time, with its unit in the name and the
 * reason for its default. Servers we make get all of them; a server we are given keeps what is
 * stricter, and what cannot be changed is reported in `snapshot().limits`.
 */

import { unknownKeyRule } from "@inmesh/core/spi";

export interface ServerLimits {
  /** Requests in progress; the rest is refused with 503. Bounds memory and the wait behind them. */
  readonly maxInFlight: number;
  /**
   * Milliseconds that the requests of one turn of the event loop may take while the loop is late by a third
   * of it all the time; the rest of the turn is refused. Less for a caller that would get its reply too
   * late. Infinity: not watched.
   */
  readonly maxLoopDelayMs: number;
  /** Share of V8's old generation in use, from 0 to 1, above which requests are refused. Infinity: not watched. */
  readonly maxHeapRatio: number;
  /** Connections; above it none is accepted. */
  readonly maxConnections: number;
  /** From one connection, answered in order; reading pauses above it, as HTTP/1 pipelining allows. */
  readonly maxPipelined: number;
  /** TLS handshakes in progress; further connections are closed. */
  readonly maxHandshakes: number;
  /** A TLS handshake; Node waits two minutes. */
  readonly handshakeTimeoutMs: number;
  /** From the first byte of a request, or from the connection, to the end of its head: 408. Node: 60 s. */
  readonly headersTimeoutMs: number;
  /** How often the above is looked at. Node: 30 s. Servers we make only. */
  readonly headersCheckMs: number;
  /** Head of a request in bytes: 431 by Node's parser. Servers we make only. */
  readonly maxHeaderBytes: number;
  /** Fields of a head: 431. Node lets 2 000 through. */
  readonly maxHeaderCount: number;
  readonly maxHeaderNameBytes: number;
  readonly maxHeaderValueBytes: number;
  /** Request target: 414. RFC 9112 §3 asks for 8 000 at least. */
  readonly maxTargetBytes: number;
  /** Fields of a trailer; a request with more loses them all. */
  readonly maxTrailerCount: number;
  readonly maxTrailerBytes: number;
  /** Silence of a client that owes the rest of a body: 408. Not counted while the handler does not read. */
  readonly bodyIdleTimeoutMs: number;
  /** Bytes per second a body must bring over each window while the handler reads: 408. 0: any. */
  readonly minBodyRate: number;
  readonly bodyRateWindowMs: number;
  /** A client that does not read what waits for it; then its connection is destroyed. Node: for ever. */
  readonly writeStallTimeoutMs: number;
  /**
   * Bytes per second a client must take of a reply over HTTP/2 that waits for it, over twice
   * `writeStallTimeoutMs`; otherwise as above. 0: any.
   */
  readonly minReplyRate: number;
  /** Of a body whose answer is already given: read and dropped, so that closing does not eat the answer. */
  readonly lingerBytes: number;
  readonly lingerMs: number;
  /** An idle connection; above every client's own, so that clients close first (faults C5). */
  readonly keepAliveIdleMs: number;
  /** A connection, ± 10 %; then it is drained, so that clients spread again. Infinity: for ever. */
  readonly maxConnectionAgeMs: number;
  /** A deadline as received; a longer one is cut to it. */
  readonly maxTimeoutMs: number;
  /** Servers of the mesh a request may come through: 508. */
  readonly maxHops: number;
  readonly maxTracestateBytes: number;
  readonly maxBaggageBytes: number;
  /** Tolerated oddities of a connection; one is forgotten every 10 s. Above it, the connection is closed. */
  readonly maxGlitches: number;
  /** Heads of all requests that a connection has in progress. */
  readonly maxConnectionHeaderBytes: number;
  /** HTTP/2 streams of one connection. Node announces four billion. */
  readonly maxConcurrentStreams: number;
  /** HTTP/2 HPACK table in bytes. */
  readonly maxHeaderTableBytes: number;
  /**
   * HTTP/2 resets by the client in a burst; a thirtieth of it per second is forgotten. Node's default.
   * What it gives up at its deadline, or after a second, counts only towards ten times as much.
   */
  readonly maxStreamResets: number;
  /** Share of a connection's streams that were reset, up to which more than `maxStreamResets` may be. 1: any. */
  readonly maxResetRatio: number;
  /** HTTP/2 pings by the client in a burst; one is forgotten every second. */
  readonly maxPings: number;
  /** HTTP/2 SETTINGS by the client in a burst; one is forgotten every six seconds. */
  readonly maxSettingsFrames: number;
  /** HTTP/2 frames Node takes for invalid before it closes the connection. */
  readonly maxInvalidFrames: number;
}

export const DEFAULT_LIMITS: ServerLimits = {
  maxInFlight: 4_096,
  maxLoopDelayMs: 1_000,
  maxHeapRatio: 0.95,
  maxConnections: 10_000,
  maxPipelined: 16,
  maxHandshakes: 256,
  handshakeTimeoutMs: 10_000,
  headersTimeoutMs: 10_000,
  headersCheckMs: 5_000,
  maxHeaderBytes: 16_384,
  maxHeaderCount: 100,
  maxHeaderNameBytes: 256,
  maxHeaderValueBytes: 8_192,
  maxTargetBytes: 8_192,
  maxTrailerCount: 32,
  maxTrailerBytes: 8_192,
  bodyIdleTimeoutMs: 30_000,
  minBodyRate: 500,
  bodyRateWindowMs: 20_000,
  writeStallTimeoutMs: 30_000,
  minReplyRate: 500,
  lingerBytes: 262_144,
  lingerMs: 1_000,
  keepAliveIdleMs: 65_000,
  maxConnectionAgeMs: 3_600_000,
  maxTimeoutMs: 3_600_000,
  maxHops: 16,
  maxTracestateBytes: 512,
  maxBaggageBytes: 8_192,
  maxGlitches: 100,
  maxConnectionHeaderBytes: 524_288,
  maxConcurrentStreams: 100,
  maxHeaderTableBytes: 4_096,
  maxStreamResets: 1_000,
  maxResetRatio: 0.5,
  maxPings: 10,
  maxSettingsFrames: 10,
  maxInvalidFrames: 100,
};

/** The given over the defaults. Throws a RangeError for what is no number from 0 up, or no limit of ours. */
export function limitsOf(given: Partial<ServerLimits> | undefined): ServerLimits {
  if (given === undefined) return DEFAULT_LIMITS;
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(DEFAULT_LIMITS, name)) {
      const rule = unknownKeyRule(name, Object.keys(DEFAULT_LIMITS));
      throw new RangeError(`meshServer: limits.${name} ${rule}`);
    }
    if (typeof value !== "number" || !(value >= 0)) {
      throw new RangeError(`meshServer: limits.${name} must be a number from 0 up, is ${value}`);
    }
  }
  return { ...DEFAULT_LIMITS, ...given };
}
