/**
 * The answers that a server makes up: before a handler runs, or instead of one. A closed set; the
 * reason is a metric label, and is told to peers of the mesh only. docs/reference/headers.md lists it.
 */
import type { AdmissionRefusal } from "@inmesh/core/spi";

export type RefusalReason =
  | AdmissionRefusal
  | "loop"
  | "bad_host"
  | "misdirected"
  | "bad_header_name"
  | "bad_target"
  | "bad_framing"
  | "unknown_coding"
  | "bad_version"
  | "method_not_allowed"
  | "expectation"
  | "bad_upgrade"
  | "target_too_long"
  | "too_many_headers"
  | "header_too_large"
  | "connection_headers"
  | "too_many_pipelined"
  | "body_timeout";

export interface Refusal {
  readonly reason: RefusalReason;
  readonly status: number;
  /** The connection is not to be trusted further: what follows may not be what it seems. */
  readonly close: boolean;
  /** It was certainly not processed, and another endpoint may well do it. */
  readonly nack: boolean;
}

const broken = (reason: RefusalReason, status: number): Refusal => ({
  reason,
  status,
  close: true,
  nack: false,
});

export const REFUSALS: Readonly<Record<RefusalReason, Refusal>> = {
  expired_on_arrival: { reason: "expired_on_arrival", status: 504, close: false, nack: false },
  concurrency: { reason: "concurrency", status: 503, close: false, nack: true },
  loop_delay: { reason: "loop_delay", status: 503, close: false, nack: true },
  heap: { reason: "heap", status: 503, close: false, nack: true },
  loop: { reason: "loop", status: 508, close: false, nack: false },
  bad_host: broken("bad_host", 400),
  // RFC 9110 §15.5.20: right here, and the wrong place for it. Others on the connection are not.
  misdirected: { reason: "misdirected", status: 421, close: false, nack: false },
  bad_header_name: broken("bad_header_name", 400),
  bad_target: broken("bad_target", 400),
  bad_framing: broken("bad_framing", 400),
  unknown_coding: broken("unknown_coding", 501),
  bad_version: broken("bad_version", 505),
  method_not_allowed: broken("method_not_allowed", 405),
  expectation: broken("expectation", 417),
  bad_upgrade: broken("bad_upgrade", 400),
  target_too_long: broken("target_too_long", 414),
  too_many_headers: broken("too_many_headers", 431),
  header_too_large: broken("header_too_large", 431),
  connection_headers: broken("connection_headers", 431),
  too_many_pipelined: { reason: "too_many_pipelined", status: 503, close: true, nack: true },
  body_timeout: broken("body_timeout", 408),
};

/** Seconds, in `Retry-After` of a refusal for load. */
export const RETRY_AFTER_S = 1;
