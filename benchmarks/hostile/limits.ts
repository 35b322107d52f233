/** Times of the servers under attack: short, so that what must be made to go is gone within seconds. */
export const LIMITS = {
  headersTimeoutMs: 1_000,
  headersCheckMs: 250,
  handshakeTimeoutMs: 1_000,
  bodyIdleTimeoutMs: 1_000,
  writeStallTimeoutMs: 1_500,
  lingerMs: 300,
  keepAliveIdleMs: 1_200,
  maxConnectionAgeMs: 4_000,
  // The machine may be busy with other things.
  maxLoopDelayMs: 10_000,
} as const;

/** Of gRPC's servers. */
export const GRPC_LIMITS = {
  handshakeTimeoutMs: 1_000,
  maxConnectionAgeMs: 2_500,
  maxConnectionAgeGraceMs: 1_000,
  pingIntervalMs: 1_000,
  pingTimeoutMs: 1_000,
  writeStallTimeoutMs: 1_500,
  maxLoopDelayMs: 10_000,
} as const;

/** From the last byte of an input until the server has closed its connection: all of the above and some. */
export const GONE_WITHIN_MS = 9_000;
