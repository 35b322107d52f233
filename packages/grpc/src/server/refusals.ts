/**
 * The statuses that a server makes up before a handler runs. The reasons of its own are a closed set, beside
 * those that applications make (`refusal`); a reason is a metric label, and is sent to peers of the mesh only.
 */
import { Metadata } from "@grpc/grpc-js";
import { REFUSAL_CODES, type Refusal, type SharedRefusalReason } from "@inmesh/core/spi";
import type { ServedStatus } from "../call-types.ts";
import { NACK, PUSHBACK_MS, REASON } from "../metadata.ts";
import type { SessionCut } from "./sessions.ts";

export type GrpcRefusalReason = SharedRefusalReason;

/** Why a call did not reach its handler or was cut short, or a connection was closed. */
export type GrpcCutReason = GrpcRefusalReason | "write_stall" | SessionCut;

const DETAILS: Readonly<Record<GrpcRefusalReason, string>> = {
  expired_on_arrival: "the deadline had passed on arrival",
  concurrency: "too many calls in progress",
  loop_delay: "too busy",
  heap: "too little memory left",
  loop: "the call came through too many servers",
  too_many_headers: "too many metadata entries",
  header_too_large: "too much metadata",
  connection_headers: "too much metadata in progress",
  layer_failed: "the server could not decide about the call",
};

export type StatusOfRefusal = (refusal: Refusal) => ServedStatus;

/** Made once for each refusal: grpc-js copies the metadata. `givesReasons`: the peers are the mesh's own. */
export function refusalStatuses(givesReasons: boolean): StatusOfRefusal {
  const statuses = new WeakMap<Refusal, ServedStatus>();
  return (refusal) => {
    let status = statuses.get(refusal);
    if (status === undefined) statuses.set(refusal, (status = makeStatus(refusal, givesReasons)));
    return status;
  };
}

function makeStatus(refusal: Refusal, givesReasons: boolean): ServedStatus {
  const { reason, code, nack, retryAfterMs, headers } = refusal;
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  if (retryAfterMs !== undefined) metadata.set(PUSHBACK_MS, String(Math.ceil(retryAfterMs)));
  if (nack) metadata.set(NACK, "1");
  if (givesReasons) metadata.set(REASON, reason);
  const details = Object.hasOwn(DETAILS, reason) ? DETAILS[reason as GrpcRefusalReason] : reason;
  return { code: REFUSAL_CODES[code].grpc, details, metadata };
}
