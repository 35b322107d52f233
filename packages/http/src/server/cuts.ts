/**
 * Why something was refused, dropped, cut short or closed: the keys of `snapshot().refused`. A closed set, so
 * that it can be a label. docs/reference/limits.md lists those that are not refusals.
 */
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
  "trailers",
  "connections",
  "handshakes",
  "handshake_timeout",
  "handshake_failed",
  "glitches",
  "stream_resets",
  "pings",
  "settings",
  "hidden_streams",
  "http2_error",
  "http1_application",
] as const;

export type CutReason = RefusalReason | (typeof CUTS)[number];
