/**
 * Why something was refused, dropped, cut short or closed: the keys of `snapshot().refused`. A closed set, so
 * that it can be a label. docs/reference/limits.md lists those that are not refusals.
 */
import type { CountedReasons } from "@inmesh/core/spi";
import type { RefusalReason } from "./refusals.ts";

export const CUTS = [
  "content_length_mismatch",
  "write_stall",
  "malformed",
  "head_too_large",
  "head_timeout",
  "chunk_extensions",
  "traceparent",
  "tracestate",
  "baggage",
  "repeated_claim",
  "connection_option",
  "trailers",
  "connections",
  "handshakes",
  "handshake_timeout",
  "handshake_failed",
  "glitches",
  "stream_resets",
  "pings",
  "settings",
  "frames",
  "hidden_streams",
  "http2_error",
  "http1_application",
] as const;

/** Those that were tolerated. */
const GLITCHES = [
  "traceparent",
  "tracestate",
  "baggage",
  "repeated_claim",
  "connection_option",
  "trailers",
  "hidden_streams",
] as const satisfies readonly CutReason[];

/** Requests that were refused because of what they are, and none of the refusals for load. */
const REJECTED = [
  "bad_host",
  "misdirected",
  "bad_header_name",
  "bad_target",
  "bad_framing",
  "unknown_coding",
  "bad_version",
  "method_not_allowed",
  "expectation",
  "bad_upgrade",
  "target_too_long",
  "too_many_pipelined",
  "too_many_headers",
  "header_too_large",
  "connection_headers",
  "loop",
  "body_timeout",
  "malformed",
  "head_too_large",
  "head_timeout",
  "chunk_extensions",
  "http1_application",
] as const satisfies readonly CutReason[];

export const COUNTED: CountedReasons<CutReason> = { rejected: REJECTED, glitches: GLITCHES };

export type CutReason = RefusalReason | (typeof CUTS)[number];
