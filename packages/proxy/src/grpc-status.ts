/** What the status of a gRPC reply says about its server: the rule of @inmesh/grpc, of which the proxy sees fields alone. */
import type { Outcome } from "@inmesh/core/spi";
import type { Fields } from "./fields.ts";

const OK = 0;
export const CANCELLED: number = 1;
/** What a reply without a status is to its caller. */
export const UNKNOWN: number = 2;
const PERMISSION_DENIED = 7;
const RESOURCE_EXHAUSTED = 8;
const UNIMPLEMENTED = 12;
const INTERNAL = 13;
export const UNAVAILABLE: number = 14;
const UNAUTHENTICATED = 16;
/** UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS: the endpoint is at fault, not its caller. */
const FAILURES: ReadonlySet<number> = new Set([UNKNOWN, 4, INTERNAL, UNAVAILABLE, 15]);

/** Of a reply that is none of gRPC's, what its client makes of it (gRPC, http-grpc-status-mapping.md). */
export function grpcStatusOfHttp(status: number): number {
  switch (status) {
    case 400:
      return INTERNAL;
    case 401:
      return UNAUTHENTICATED;
    case 403:
      return PERMISSION_DENIED;
    case 404:
      return UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
      return UNAVAILABLE;
    default:
      return UNKNOWN;
  }
}

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
