/**
 * What a gRPC status says about the endpoint (its outcome), and the other way round, which status a failure of
 * the mesh's own becomes.
 */
import { Metadata, status as Status } from "@grpc/grpc-js";
import { grpcCodeOfError, type MeshError, type Outcome } from "@inmesh/core/spi";
import type { WireStatus } from "./call-types.ts";

/**
 * A status as callers may rely on it. Whole numbers that are no code of gRPC's go to the caller as they
 * are, as in grpc-js. What is no number is UNKNOWN (grpc-js: NaN), and the status without a code that
 * grpc-js gives for a message it cannot decompress is INTERNAL.
 */
export function normal(status: WireStatus): WireStatus {
  const code: unknown = status.code;
  if (typeof code !== "number") {
    return {
      code: Status.INTERNAL,
      details: "a message could not be read",
      metadata: new Metadata(),
    };
  }
  if (Number.isSafeInteger(code)) return status;
  return { code: Status.UNKNOWN, details: status.details, metadata: status.metadata };
}

/** Statuses by which an endpoint says that it is at fault, not its caller. */
const FAILURES: ReadonlySet<number> = new Set([
  Status.UNKNOWN,
  Status.DEADLINE_EXCEEDED,
  Status.INTERNAL,
  Status.UNAVAILABLE,
  Status.DATA_LOSS,
]);

/** Judges a status other than OK in the place of the rule below; undefined leaves it to the rule. */
export type Classify = (code: number, path: string) => Outcome | undefined;

/** The one verdict about a status. `hinted`: the server said when to come again. */
export function outcomeOf(code: Status, hinted: boolean): Outcome {
  if (code === Status.OK) return "success";
  if (code === Status.CANCELLED) return "abandoned";
  if (code === Status.RESOURCE_EXHAUSTED || (code === Status.UNAVAILABLE && hinted)) {
    return "overloaded";
  }
  // Who gets a number that is no code treats it as UNKNOWN (gRPC, statuscodes.md).
  return FAILURES.has(code) || Status[code] === undefined ? "failure" : "success";
}

/** The status a caller sees for a failure of the mesh's own; the MeshError itself is its `cause`. */
export function statusOf(error: MeshError): WireStatus {
  const status: WireStatus & { cause: unknown } = {
    code: grpcCodeOfError(error),
    details: error.message,
    metadata: new Metadata(),
    cause: error,
  };
  return status;
}
