/**
 * What a server answers instead of its handler, whatever the protocol: one shape, one table of codes from
 * which the HTTP status and the gRPC code follow, and the refusals that servers of every protocol have.
 * The protocol writes them.
 */
import type { Outcome } from "../call.ts";
import type { AdmissionRefusal } from "./admission.ts";

interface CodeFacts {
  /** Number of the gRPC status (google/rpc/code.proto). */
  readonly grpc: number;
  /** Status over HTTP, where a refusal has no finer one. */
  readonly http: number;
  /** What the record of the request says. */
  readonly outcome: Outcome;
}

/** What a refusal says: names of google/rpc/code.proto in lower case, without those no server refuses with. */
export type RefusalCode =
  | "invalid_argument"
  | "unauthenticated"
  | "permission_denied"
  | "not_found"
  | "already_exists"
  | "aborted"
  | "failed_precondition"
  | "resource_exhausted"
  | "internal"
  | "unimplemented"
  | "unavailable"
  | "deadline_exceeded";

/** Every code with the HTTP status and the number of the gRPC status that stand for it. */
export const REFUSAL_CODES: Readonly<Record<RefusalCode, CodeFacts>> = {
  invalid_argument: { grpc: 3, http: 400, outcome: "success" },
  unauthenticated: { grpc: 16, http: 401, outcome: "success" },
  permission_denied: { grpc: 7, http: 403, outcome: "success" },
  not_found: { grpc: 5, http: 404, outcome: "success" },
  already_exists: { grpc: 6, http: 409, outcome: "success" },
  aborted: { grpc: 10, http: 409, outcome: "success" },
  failed_precondition: { grpc: 9, http: 400, outcome: "success" },
  resource_exhausted: { grpc: 8, http: 429, outcome: "overloaded" },
  internal: { grpc: 13, http: 500, outcome: "failure" },
  unimplemented: { grpc: 12, http: 501, outcome: "success" },
  unavailable: { grpc: 14, http: 503, outcome: "overloaded" },
  deadline_exceeded: { grpc: 4, http: 504, outcome: "timeout" },
};

export class Refusal {
  /** A metric label, and sent to peers of the mesh. Lower case, digits and `_`. */
  readonly reason: string;
  readonly code: RefusalCode;
  /** The HTTP status. */
  readonly status: number;
  /** HTTP: the connection ends with it, because what follows may not be what it seems. */
  readonly close: boolean;
  /** It was certainly not processed, and another endpoint may well do it: callers may send it again at once. */
  readonly nack: boolean;
  /** When to come again; undefined: nothing is said. */
  readonly retryAfterMs: number | undefined;
  /** Further fields of the reply; over gRPC, of its last metadata. Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;

  /** Applications use `refusal`. */
  constructor(init: RefusalInit & { readonly status?: number; readonly close?: boolean }) {
    this.reason = init.reason;
    this.code = init.code;
    this.status = init.status ?? REFUSAL_CODES[init.code].http;
    this.close = init.close ?? false;
    this.nack = init.code === "unavailable";
    this.retryAfterMs = init.retryAfterMs;
    this.headers = init.headers ?? NONE;
  }

  get outcome(): Outcome {
    return REFUSAL_CODES[this.code].outcome;
  }
}

export interface RefusalInit {
  /** From it follow the HTTP status and the gRPC code; `resource_exhausted` is 429 and RESOURCE_EXHAUSTED. */
  readonly code: RefusalCode;
  /** Why, for metrics, the body of the reply and peers of the mesh: `too_fast`. Lower case, digits and `_`, up to 40. */
  readonly reason: string;
  /** Milliseconds until the caller may come again: `Retry-After` in whole seconds, gRPC's pushback. Default: nothing is said. */
  readonly retryAfterMs?: number;
  /** Further fields of the reply, such as `www-authenticate`; over gRPC, of its last metadata. Default: none. */
  readonly headers?: Readonly<Record<string, string>>;
}

const NONE: Readonly<Record<string, string>> = Object.freeze({});
const REASON = /^[a-z][a-z0-9_]{0,39}$/;
const NAME = /^[a-z0-9!#$%&'*+.^_`|~-]+$/;
/** What gRPC takes in metadata; HTTP takes a little more. */
const BAD_VALUE = /[^ -~]/;
/** Framing, what a server says about itself, and binary metadata: not a layer's to write. */
const RESERVED =
  /^(?:content-length|content-type|transfer-encoding|connection|keep-alive|retry-after|trailer|upgrade|date|x-mesh-.*|grpc-.*|.*-bin)$/;

/**
 * A refusal of the application's own, for its server layers: made once and given out many times, or made
 * for one request. Throws a TypeError that names everything that is wrong with it.
 */
export function refusal(init: RefusalInit): Refusal {
  const mistakes: string[] = [];
  const { code, retryAfterMs, headers } = init;
  const reason: unknown = init.reason;
  if (!Object.hasOwn(REFUSAL_CODES, code)) {
    mistakes.push(`code must be one of ${Object.keys(REFUSAL_CODES).join(", ")} (got ${code})`);
  }
  if (typeof reason !== "string" || !REASON.test(reason)) {
    mistakes.push(
      `reason must be 1 to 40 of a-z, 0-9 and _, from a letter on (got ${String(reason)})`,
    );
  }
  if (retryAfterMs !== undefined && !(Number.isFinite(retryAfterMs) && retryAfterMs >= 0)) {
    mistakes.push(`retryAfterMs must be a number from 0 up (got ${String(retryAfterMs)})`);
  }
  const own: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers ?? NONE)) {
    const lower = name.toLowerCase();
    if (!NAME.test(lower)) mistakes.push(`headers: ${JSON.stringify(name)} is no name of a header`);
    else if (RESERVED.test(lower))
      mistakes.push(`headers: ${name} is written by the server itself`);
    else if (typeof value !== "string" || BAD_VALUE.test(value)) {
      mistakes.push(`headers: ${name} must be a text of visible ASCII`);
    } else own[lower] = value;
  }
  if (mistakes.length > 0) {
    throw new TypeError(mistakes.map((mistake) => `refusal: ${mistake}`).join("\n"));
  }
  return new Refusal({ ...init, headers: Object.freeze(own) });
}

/** Those of every protocol. A closed set. */
export type SharedRefusalReason =
  | AdmissionRefusal
  | "loop"
  | "too_many_headers"
  | "header_too_large"
  | "connection_headers"
  | "layer_failed";

/** What a refusal for load asks its client to wait. */
const BUSY_MS = 1_000;

const busy = (reason: SharedRefusalReason): Refusal =>
  new Refusal({ reason, code: "unavailable", retryAfterMs: BUSY_MS });

export const SHARED_REFUSALS: Readonly<Record<SharedRefusalReason, Refusal>> = {
  expired_on_arrival: new Refusal({ reason: "expired_on_arrival", code: "deadline_exceeded" }),
  concurrency: busy("concurrency"),
  loop_delay: busy("loop_delay"),
  heap: busy("heap"),
  loop: new Refusal({ reason: "loop", code: "internal", status: 508 }),
  too_many_headers: tooLarge("too_many_headers"),
  header_too_large: tooLarge("header_too_large"),
  connection_headers: tooLarge("connection_headers"),
  layer_failed: new Refusal({ reason: "layer_failed", code: "internal" }),
};

/** RFC 6585 §5. Over HTTP/1 the rest of such a request is not read. */
function tooLarge(reason: SharedRefusalReason): Refusal {
  return new Refusal({ reason, code: "resource_exhausted", status: 431, close: true });
}
