/**
 * What a server lets one peer cost it: every count, size and time, with its unit in the name and the
 * reason for its default. Servers we make get all of them; a server we are given keeps what is
 * stricter, and what cannot be changed is reported in `snapshot().limits`.
 */

import { SHARED_LIMITS, type SharedLimits } from "@inmesh/core/spi";

export interface ServerLimits extends SharedLimits {
  /** From one connection, answered in order; reading pauses above it, as HTTP/1 pipelining allows. */
  readonly maxPipelined: number;
  /** TLS handshakes in progress; further connections are closed. */
  readonly maxHandshakes: number;
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
  /** Tolerated oddities of a connection; one is forgotten every 10 s. Above it, the connection is closed. */
  readonly maxGlitches: number;
  /** HTTP/2 pings by the client in a burst; one is forgotten every second. */
  readonly maxPings: number;
  /** HTTP/2 SETTINGS by the client in a burst; one is forgotten every six seconds. */
  readonly maxSettingsFrames: number;
  /** HTTP/2 frames Node takes for invalid before it closes the connection. */
  readonly maxInvalidFrames: number;
}

export const DEFAULT_LIMITS: ServerLimits = {
  ...SHARED_LIMITS,
  maxPipelined: 16,
  maxHandshakes: 256,
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
  minReplyRate: 500,
  lingerBytes: 262_144,
  lingerMs: 1_000,
  keepAliveIdleMs: 65_000,
  maxGlitches: 100,
  maxPings: 10,
  maxSettingsFrames: 10,
  maxInvalidFrames: 100,
};
