/**
 * `rpc.client.call.duration` and `rpc.server.call.duration`: one for each call, by OpenTelemetry's semantic
 * conventions for gRPC, of the library and of the proxy. A method's name is written where it is known to be one: at a client those of
 * `definitions` and of routes, at a server those that are registered, in the proxy those of routes.
 *
 * https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
 */
import type { Call } from "../call.ts";
import type { ServiceConfig } from "../config/types.ts";
import type { MeshError } from "../errors.ts";
import { grpcCodeOfError, grpcStatusName, isGrpcCode } from "../grpc-status.ts";
import type { Histogrammed } from "./buckets.ts";
import { serverPort, STANDARD_SECONDS, type StandardDuration } from "./standard.ts";
import type { Labels } from "./telemetry.ts";

const CLIENT_DURATION: Histogrammed = {
  name: "rpc.client.call.duration",
  unit: "s",
  description: "Measures the duration of an outgoing Remote Procedure Call (RPC).",
  bounds: STANDARD_SECONDS,
};

const SERVER_DURATION: Histogrammed = {
  name: "rpc.server.call.duration",
  unit: "s",
  description: "Measures the duration of an incoming Remote Procedure Call (RPC).",
  bounds: STANDARD_SECONDS,
};

const OK = 0;
const CANCELLED = 1;
const UNKNOWN = 2;

/** What a server is at fault for; all else is its caller's. */
const SERVER_ERRORS: ReadonlySet<string> = new Set([
  "UNKNOWN",
  "DEADLINE_EXCEEDED",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
]);

/** A call of a client, as far as it is asked for its method. */
interface NamedRequest {
  readonly methodName: string;
}

/** The same of a call that is served, which has ended. */
interface NamedCall extends NamedRequest {
  readonly endStatus: number;
}

/** Paths of the methods that routes of it name: `/package.Service/Method`. */
export function routedGrpcPaths({ routes }: ServiceConfig): string[] {
  return routes.flatMap(({ matches }) =>
    matches.flatMap(({ path }) => (path?.type === "Exact" ? [path.value] : [])),
  );
}

export function grpcCallDuration(service: ServiceConfig): StandardDuration<Call<NamedRequest>> {
  const server = { "server.address": service.name, "server.port": serverPort(service) };
  return {
    instrument: CLIENT_DURATION,
    methodOf: ({ request }) => request.methodName,
    numberOf: (call, error) => known(statusOfCall(call, error)),
    attributesOf: (method, status, reason) => ({
      ...server,
      ...attributesOf(method, status, reason, status !== OK),
    }),
  };
}

export const GRPC_SERVED_DURATION: StandardDuration<NamedCall> = {
  instrument: SERVER_DURATION,
  methodOf: ({ methodName }) => methodName,
  numberOf: ({ endStatus }) => known(endStatus),
  attributesOf: (method, status, reason) =>
    attributesOf(method, status, reason, SERVER_ERRORS.has(grpcStatusName(status))),
};

/** What the application got. */
function statusOfCall({ attempt }: Call, error: MeshError | undefined): number {
  if (error !== undefined) return grpcCodeOfError(error);
  // A layer of the application has answered in the place of an endpoint, or its reply was not wanted.
  return attempt === undefined ? OK : (attempt.status ?? CANCELLED);
}

/** Who gets a number that is no code treats it as UNKNOWN (gRPC, statuscodes.md). */
function known(code: number): number {
  return isGrpcCode(code) ? code : UNKNOWN;
}

function attributesOf(
  method: string,
  status: number,
  reason: string | undefined,
  isError: boolean,
): Labels {
  const name = grpcStatusName(status);
  const attributes: Record<string, string> = {
    "rpc.system.name": "grpc",
    "rpc.method": method,
    "rpc.status_code": name,
  };
  if (isError || reason !== undefined) attributes["error.type"] = reason ?? name;
  return attributes;
}
