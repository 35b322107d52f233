/**
 * The statuses that a server makes up before a handler runs. A closed set; the reason is a metric
 * label, and is told to peers of the mesh only.
 */
import { Metadata, status as Status } from "@grpc/grpc-js";
import type { AdmissionRefusal } from "@inmesh/core/spi";
import type { ServedStatus } from "../call-types.ts";
import { NACK, PUSHBACK_MS, REASON } from "../metadata.ts";

export type GrpcRefusalReason =
  | AdmissionRefusal
  | "loop"
  | "too_many_headers"
  | "header_too_large"
  | "connection_headers";

const CODES: Readonly<Record<GrpcRefusalReason, Status>> = {
  expired_on_arrival: Status.DEADLINE_EXCEEDED,
  concurrency: Status.UNAVAILABLE,
  loop_delay: Status.UNAVAILABLE,
  heap: Status.UNAVAILABLE,
  loop: Status.INTERNAL,
  too_many_headers: Status.RESOURCE_EXHAUSTED,
  header_too_large: Status.RESOURCE_EXHAUSTED,
  connection_headers: Status.RESOURCE_EXHAUSTED,
};

const DETAILS: Readonly<Record<GrpcRefusalReason, string>> = {
  expired_on_arrival: "the deadline had passed on arrival",
  concurrency: "too many calls in progress",
  loop_delay: "too busy",
  heap: "too little memory left",
  loop: "the call came through too many servers",
  too_many_headers: "too many metadata entries",
  header_too_large: "too much metadata",
  connection_headers: "too much metadata in progress",
};

/** Milliseconds, in the pushback of a refusal for load. */
const PUSHBACK = "1000";

/** What is answered, made once: grpc-js copies the metadata. */
export type RefusalStatuses = Readonly<Record<GrpcRefusalReason, ServedStatus>>;

/** `tellsReasons`: the peers are the mesh's own. */
export function refusalStatuses(tellsReasons: boolean): RefusalStatuses {
  const statuses: Partial<Record<GrpcRefusalReason, ServedStatus>> = {};
  for (const reason of Object.keys(CODES) as GrpcRefusalReason[]) {
    const metadata = new Metadata();
    const code = CODES[reason];
    if (code === Status.UNAVAILABLE) {
      // It was certainly not processed, and another endpoint may well do it.
      metadata.set(PUSHBACK_MS, PUSHBACK);
      metadata.set(NACK, "1");
    }
    if (tellsReasons) metadata.set(REASON, reason);
    statuses[reason] = { code, details: DETAILS[reason], metadata };
  }
  return statuses as RefusalStatuses;
}
