/**
 * What a gRPC server lets one peer cost it: every count, size and time, with its unit in the name and
 * the reason for its default. Servers we make get all of them; of a server we are given, those that
 * its constructor had to be told are reported in `snapshot().weaker`.
 */
import type { ServerOptions } from "@grpc/grpc-js";
import { unknownKeyRule } from "@inmesh/core/spi";

export interface GrpcServerLimits {
  /** Calls in progress; the rest is refused with UNAVAILABLE. Bounds memory and the wait behind them. */
  readonly maxInFlight: number;
  /**
   * Milliseconds that the calls of one turn of the event loop may take while the loop is late by a third
   * of it all the time; the rest of the turn is refused. Less for a caller that would get its reply too
   * late. Infinity: not watched.
   */
  readonly maxLoopDelayMs: number;
  /** Share of V8's old generation in use above which calls are refused; V8 ends the process at 1. */
  readonly maxHeapRatio: number;
  /** Connections; above it none is accepted. */
  readonly maxConnections: number;
  /** A connection that has not said a word of HTTP/2 so long is closed. Node waits for ever. */
  readonly handshakeTimeoutMs: number;
  /** Names, values and 32 bytes per entry of a call's metadata: RESOURCE_EXHAUSTED. */
  readonly maxMetadataBytes: number;
  /** Keys of a call's metadata: RESOURCE_EXHAUSTED. Node resets a stream with more than 128. */
  readonly maxMetadataCount: number;
  /** Metadata of all calls that a connection has in progress: RESOURCE_EXHAUSTED, and the connection is closed. */
  readonly maxConnectionHeaderBytes: number;
  /** A message received, unpacked: RESOURCE_EXHAUSTED, before it is in memory. gRPC's own default. */
  readonly maxMessageBytes: number;
  /** Streams of one connection. Node announces four billion. */
  readonly maxConcurrentStreams: number;
  /**
   * Calls of a connection that the client resets before their reply has begun, in a burst; a thirtieth
   * of it per second is forgotten. Node's own limit, which counts every reset, is below: 1 000 and 33.
   */
  readonly maxStreamResets: number;
  /** Share of a connection's calls that were reset, up to which more than `maxStreamResets` may be. 1: any. */
  readonly maxResetRatio: number;
  /** HPACK table in bytes. */
  readonly maxHeaderTableBytes: number;
  /** A connection, ± 10 %; then it is told to go, so that clients spread again. Infinity: for ever. */
  readonly maxConnectionAgeMs: number;
  /** What calls on such a connection have left before it is destroyed. */
  readonly maxConnectionAgeGraceMs: number;
  /** A silent connection is pinged this often, so that a vanished client is noticed. Infinity: never. */
  readonly pingIntervalMs: number;
  /** Without an answer so long the connection is destroyed. */
  readonly pingTimeoutMs: number;
  /** A client that does not read what waits for it; then its stream is reset. Node: for ever. */
  readonly writeStallTimeoutMs: number;
  /** A deadline as inherited by calls made for this one; a longer one is cut to it. */
  readonly maxTimeoutMs: number;
  /** Servers of the mesh a call may come through: INTERNAL. */
  readonly maxHops: number;
  readonly maxTracestateBytes: number;
  readonly maxBaggageBytes: number;
  /** Watchers of the health service. */
  readonly maxWatchers: number;
}

export const DEFAULT_GRPC_LIMITS: GrpcServerLimits = {
  maxInFlight: 4_096,
  maxLoopDelayMs: 1_000,
  maxHeapRatio: 0.95,
  maxConnections: 10_000,
  handshakeTimeoutMs: 10_000,
  maxMetadataBytes: 16_384,
  maxMetadataCount: 100,
  maxConnectionHeaderBytes: 524_288,
  maxMessageBytes: 4_194_304,
  maxConcurrentStreams: 100,
  maxStreamResets: 1_000,
  maxResetRatio: 0.5,
  maxHeaderTableBytes: 4_096,
  maxConnectionAgeMs: 3_600_000,
  maxConnectionAgeGraceMs: 30_000,
  pingIntervalMs: 60_000,
  pingTimeoutMs: 20_000,
  writeStallTimeoutMs: 30_000,
  maxTimeoutMs: 3_600_000,
  maxHops: 16,
  maxTracestateBytes: 512,
  maxBaggageBytes: 8_192,
  maxWatchers: 100,
};

/** The given over the defaults. Throws a RangeError for what is no number from 0 up, or no limit of ours. */
export function grpcLimitsOf(given: Partial<GrpcServerLimits> | undefined): GrpcServerLimits {
  if (given === undefined) return DEFAULT_GRPC_LIMITS;
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(DEFAULT_GRPC_LIMITS, name)) {
      const rule = unknownKeyRule(name, Object.keys(DEFAULT_GRPC_LIMITS));
      throw new RangeError(`meshGrpcServer: limits.${name} ${rule}`);
    }
    if (typeof value !== "number" || !(value >= 0)) {
      throw new RangeError(
        `meshGrpcServer: limits.${name} must be a number from 0 up, is ${value}`,
      );
    }
  }
  return { ...DEFAULT_GRPC_LIMITS, ...given };
}

/** grpc-js's options by the limits they keep. It takes 2^31-1 for "never". */
const OPTIONS = [
  ["maxMessageBytes", "grpc.max_receive_message_length", 4_194_304],
  ["maxConcurrentStreams", "grpc.max_concurrent_streams", Infinity],
  ["maxConnectionAgeMs", "grpc.max_connection_age_ms", Infinity],
  ["maxConnectionAgeGraceMs", "grpc.max_connection_age_grace_ms", Infinity],
  ["pingIntervalMs", "grpc.keepalive_time_ms", Infinity],
  ["pingTimeoutMs", "grpc.keepalive_timeout_ms", 20_000],
] as const satisfies readonly (readonly [keyof GrpcServerLimits, keyof ServerOptions, number])[];
const NEVER = 2 ** 31 - 1;

/**
 * The limits that grpc-js itself keeps, as options of its Server: for whoever makes that server, such
 * as NestJS (`channelOptions`). `limits`: those that are not to be the default.
 */
export function grpcServerOptions(limits?: Partial<GrpcServerLimits>): ServerOptions {
  const all = grpcLimitsOf(limits);
  const options: Record<string, unknown> = { "grpc.enable_channelz": 0 };
  for (const [name, option] of OPTIONS) options[option] = Math.min(all[name], NEVER);
  // -1 is grpc-js's word for a message of any size.
  if (all.maxMessageBytes === Infinity) options["grpc.max_receive_message_length"] = -1;
  return options;
}

/** A limit of a server that was not made here. */
export interface GivenGrpcLimit {
  readonly name: keyof GrpcServerLimits;
  readonly wanted: number;
  readonly actual: number;
}

/** Limits that a server made with these options does not keep. None are reported if they are unknown. */
export function weakerThan(
  limits: GrpcServerLimits,
  options: Readonly<Record<string, unknown>> | undefined,
): GivenGrpcLimit[] {
  if (options === undefined) return [];
  const weaker: GivenGrpcLimit[] = [];
  for (const [name, option, otherwise] of OPTIONS) {
    const given = options[option];
    const actual = typeof given === "number" ? (given < 0 ? Infinity : given) : otherwise;
    if (actual > limits[name]) weaker.push({ name, wanted: limits[name], actual });
  }
  return weaker;
}
