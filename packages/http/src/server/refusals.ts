/**
 * The answers that a server makes up: before a handler runs, or instead of one. A closed set beside those
 * that applications make (`refusal`); the reason is a metric label, and is sent to peers of the mesh only.
 * docs/reference/headers.md lists it.
 */
import {
  Refusal,
  SHARED_REFUSALS,
  type RefusalCode,
  type SharedRefusalReason,
} from "@inmesh/core/spi";

export type RefusalReason =
  | SharedRefusalReason
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
  | "too_many_pipelined"
  | "body_timeout";

/** The connection is not to be trusted further. */
const broken = (
  reason: RefusalReason,
  status: number,
  code: RefusalCode = "invalid_argument",
): Refusal => new Refusal({ reason, status, code, close: true });

export const REFUSALS: Readonly<Record<RefusalReason, Refusal>> = {
  ...SHARED_REFUSALS,
  bad_host: broken("bad_host", 400),
  // RFC 9110 §15.5.20: right here, and the wrong place for it. Others on the connection are not.
  misdirected: new Refusal({ reason: "misdirected", status: 421, code: "failed_precondition" }),
  bad_header_name: broken("bad_header_name", 400),
  bad_target: broken("bad_target", 400),
  bad_framing: broken("bad_framing", 400),
  unknown_coding: broken("unknown_coding", 501, "unimplemented"),
  bad_version: broken("bad_version", 505, "unimplemented"),
  method_not_allowed: broken("method_not_allowed", 405, "unimplemented"),
  expectation: broken("expectation", 417),
  bad_upgrade: broken("bad_upgrade", 400),
  target_too_long: broken("target_too_long", 414),
  too_many_pipelined: new Refusal({
    reason: "too_many_pipelined",
    code: "unavailable",
    close: true,
    retryAfterMs: SHARED_REFUSALS.concurrency.retryAfterMs!,
  }),
  body_timeout: broken("body_timeout", 408, "deadline_exceeded"),
};
