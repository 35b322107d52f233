/**
 * `rpc.client.call.duration` and `rpc.server.call.duration`: one for each call, by OpenTelemetry's semantic
 * conventions for gRPC. A method's name is written where it is known to be one: at a client those of `definitions`
 * and of routes, at a server those that are registered.
 *
 * https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
 */
import { status as Status } from "@grpc/grpc-js";
import {
  serverPort,
  STANDARD_SECONDS,
  type Call,
  type Histogrammed,
  type Labels,
  type MeshError,
  type ServiceConfig,
  type StandardDuration,
} from "@inmesh/core/spi";
import { codeOf } from "./status.ts";

export const CLIENT_DURATION: Histogrammed = {
  name: "rpc.client.call.duration",
  unit: "s",
  description: "Measures the duration of an outgoing Remote Procedure Call (RPC).",
  bounds: STANDARD_SECONDS,
};

export const SERVER_DURATION: Histogrammed = {
  name: "rpc.server.call.duration",
  unit: "s",
  description: "Measures the duration of an incoming Remote Procedure Call (RPC).",
  bounds: STANDARD_SECONDS,
};

const OK: number = Status.OK;

/** What a server is at fault for; all else is its caller's. */
const SERVER_ERRORS: ReadonlySet<number> = new Set([
  Status.UNKNOWN,
  Status.DEADLINE_EXCEEDED,
  Status.UNIMPLEMENTED,
  Status.INTERNAL,
  Status.UNAVAILABLE,
  Status.DATA_LOSS,
]);

/** A call of a client, as far as it is asked for its method. */
interface NamedRequest {
  readonly methodName: string;
}

/** The same of a call that is served, which has ended. */
interface NamedCall extends NamedRequest {
  readonly endStatus: number;
}

export function callDuration(service: ServiceConfig): StandardDuration<Call<NamedRequest>> {
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

export const SERVED_DURATION: StandardDuration<NamedCall> = {
  instrument: SERVER_DURATION,
  methodOf: ({ methodName }) => methodName,
  numberOf: ({ endStatus }) => known(endStatus),
  attributesOf: (method, status, reason) =>
    attributesOf(method, status, reason, SERVER_ERRORS.has(status)),
};

/** What the application got. */
function statusOfCall({ attempt }: Call, error: MeshError | undefined): number {
  if (error !== undefined) return codeOf(error);
  // A layer of the application has answered in the place of an endpoint, or its reply was not wanted.
  return attempt === undefined ? Status.OK : (attempt.status ?? Status.CANCELLED);
}

/** Who gets a number that is no code treats it as UNKNOWN (gRPC, statuscodes.md). */
function known(code: number): number {
  return Status[code] === undefined ? Status.UNKNOWN : code;
}

function attributesOf(
  method: string,
  status: number,
  reason: string | undefined,
  isError: boolean,
): Labels {
  const name = Status[status]!;
  const attributes: Record<string, string> = {
    "rpc.system.name": "grpc",
    "rpc.method": method,
    "rpc.status_code": name,
  };
  if (isError || reason !== undefined) attributes["error.type"] = reason ?? name;
  return attributes;
}
