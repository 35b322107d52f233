/** What the status of a gRPC reply says about its server: the rule of @inmesh/grpc, of which the proxy sees fields alone. */
import type { Outcome } from "@inmesh/core/spi";
import type { Fields } from "./fields.ts";

const OK = 0;
const CANCELLED = 1;
/** What a reply without a status is to its caller. */
export const UNKNOWN: number = 2;
const RESOURCE_EXHAUSTED = 8;
const UNAVAILABLE = 14;
const UNAUTHENTICATED = 16;
/** UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS: the endpoint is at fault, not its caller. */
const FAILURES: ReadonlySet<number> = new Set([UNKNOWN, 4, 13, UNAVAILABLE, 15]);

/** Code of a reply's head or trailers; -1: it says none. What is no code, or two, counts as UNKNOWN, as for its caller. */
export function grpcStatusOf(fields: Fields | undefined): number {
  const text = fields && onlyValue(fields, "grpc-status");
  if (text === undefined) return -1;
  if (!/^\d{1,10}$/.test(text)) return UNKNOWN;
  const code = Number(text);
  return code > UNAUTHENTICATED ? UNKNOWN : code;
}

/** Milliseconds until the server is to be asked again; Infinity: never (gRFC A6). Undefined: it does not say. */
export function grpcPushbackMs(fields: Fields): number | undefined {
  const text = onlyValue(fields, "grpc-retry-pushback-ms");
  if (text === undefined) return undefined;
  return /^\d{1,10}$/.test(text) ? Number(text) : Infinity;
}

export function grpcOutcomeOf(code: number, fields: Fields): Outcome {
  if (code === OK) return "success";
  if (code === CANCELLED) return "abandoned";
  const pushbackMs = grpcPushbackMs(fields);
  const isHinted = pushbackMs !== undefined && pushbackMs !== Infinity;
  if (code === RESOURCE_EXHAUSTED || (code === UNAVAILABLE && isHinted)) return "overloaded";
  return FAILURES.has(code) ? "failure" : "success";
}

/** Undefined: there is none. Empty: there are several, which is none that could be read. */
function onlyValue(fields: Fields, name: string): string | undefined {
  const at = fields.indexOf(name);
  if (at < 0) return undefined;
  return fields.indexOf(name, at + 1) < 0 ? fields.valueOf(at) : "";
}
