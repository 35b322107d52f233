/**
 * What a gRPC server lets one peer cost it: every count, size and time, with its unit in the name; core's
 * server/options.ts has them with the reason for each default. Servers we make get all of them; of a server
 * we are given, those that its constructor had to be given are reported in `snapshot().weaker`.
 */
import type { ServerOptions } from "@grpc/grpc-js";
import { DEFAULT_GRPC_LIMITS, limitsOver, type GrpcServerLimits } from "@inmesh/core/spi";

/** Resets count before the reply has begun; Node's own limit, which counts every reset, is below: 1 000 and 33. */
export type { GrpcServerLimits };
export { DEFAULT_GRPC_LIMITS };

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
 * The limits that grpc-js itself keeps, as options of its Server: for code that makes that server, such
 * as NestJS (`channelOptions`). `limits`: those that are not to be the default.
 */
export function grpcServerOptions(limits?: Partial<GrpcServerLimits>): ServerOptions {
  const all = limitsOver("grpcServerOptions", DEFAULT_GRPC_LIMITS, limits);
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
