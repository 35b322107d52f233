/**
 * What a tap gives: plain data, the same for HTTP and gRPC, made at the end of a call or of a request being
 * served. Nothing refers to the mesh, and everything is what JSON can carry; a field that is undefined is
 * not there. Text that came from outside (path, query, header values, messages of errors) has its control
 * characters escaped and is cut at 256 characters, where it then ends in `…`. Bodies are never in it.
 * Times are milliseconds, to a microsecond.
 *
 * The shape is versioned: within `version` 1 fields may be added and none is removed or changes its meaning.
 */
import type { AttemptKind, Outcome, PickRule } from "../call.ts";
import type { ErrorCode, ErrorReason, Progress } from "../errors.ts";

/** One line of a tap. `event` says which, and of a call `direction`. */
export type TapEvent = TapCall | TapRequest | TapLost;

/** What a call and a request being served have in common. */
export interface TapEnd {
  readonly version: 1;
  readonly event: "call";
  /** Counts the observed calls, and separately the observed requests, of this mesh, from 1. */
  readonly id: number;
  /** When it began: milliseconds since 1970 by the wall clock, with a fraction. */
  readonly at: number;
  /** `http` or `grpc`. */
  readonly protocol: string;
  /** HTTP's method; `POST` for gRPC. */
  readonly method: string;
  /** Without query; for gRPC `/package.Service/Method`. */
  readonly path: string;
  /** Behind the `?`; only with the option `query`, and if there is one. */
  readonly query?: string;
  /** Fields of the request's head by lower-case name; only with the option `headers`. Values of secrets are `[redacted]`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Of the W3C trace context that came or went with it. */
  readonly traceId?: string;
  readonly outcome: Outcome;
  /** HTTP status, or number of the gRPC status; not there without a reply. */
  readonly status?: number;
  /** Until the last byte of the reply. */
  readonly durationMs: number;
  /** Time that it had when it began (a call's) or was admitted (a request's); not there without a deadline. */
  readonly deadlineMs?: number;
  /** Of bodies: of a call those of all attempts, before compression; of a request as they were sent and came. */
  readonly sentBytes: number;
  readonly receivedBytes: number;
  readonly decisions: readonly TapDecision[];
  /** Which of several processes that are tapped as one, from 1; `id` is of that one. Not there of a single process. */
  readonly worker?: number;
}

/** A call that this process made. */
export interface TapCall extends TapEnd {
  readonly direction: "outbound";
  /** The service that was called. */
  readonly service: string;
  /** Name of the matched route, or `default`; empty: the call was refused before a route was chosen. */
  readonly route: string;
  /** `reason` of the error; not there for a reply, whatever its status. */
  readonly reason?: ErrorReason;
  /** Why it failed; not there for a reply, whatever its status. */
  readonly error?: {
    readonly code: ErrorCode;
    readonly reason: ErrorReason;
    readonly message: string;
  };
  /** `id` of the request being served that it was made for. */
  readonly servedFor?: number;
  /** In the order in which they began; empty: no endpoint was picked. */
  readonly attempts: readonly TapAttempt[];
}

/** A request that this process served. */
export interface TapRequest extends TapEnd {
  readonly direction: "inbound";
  /** Name of the server. */
  readonly service: string;
  /** As in the metrics: the full name of the method for gRPC, `default` for HTTP. */
  readonly route: string;
  /** Why the server refused it, or cut it short; not there if its handler answered. */
  readonly reason?: string;
  readonly peer: TapPeer;
  /** Number of the caller's attempt, from 1, as far as the server trusts what it says. */
  readonly attempt: number;
  readonly priority: "critical" | "normal" | "sheddable";
}

/** Who was at the other end of the connection. */
export interface TapPeer {
  /** Not there on a Unix socket. */
  readonly address?: string;
  readonly port?: number;
  readonly tls: boolean;
  /** First URI of its certificate (a SPIFFE id), else its first DNS name; only if a certificate was accepted. */
  readonly id?: string;
}

/** One try of a call against one endpoint. */
export interface TapAttempt {
  /** From 1. */
  readonly number: number;
  readonly kind: AttemptKind;
  /** Why the attempt before was not enough: the reason of its error, or `status` for a reply. */
  readonly retryReason?: ErrorReason | "status";
  /** The service whose endpoint it is: another than the call's where a route has `backendRefs`. */
  readonly backend: string;
  /** `host:port`, or `unix:path`. */
  readonly endpoint: string;
  readonly zone?: string;
  /** Which rule of the balancer chose the endpoint; `why` says it in words. */
  readonly pickedBy: PickRule;
  readonly why: string;
  /** From the beginning of the call until the endpoint was picked. */
  readonly startedMs: number;
  /** Its connection had carried an attempt before; not there if it never had one. */
  readonly connectionReused?: boolean;
  /** From the pick: until there was a connection; not there if there never was one. */
  readonly queuedMs?: number;
  /** From the pick: until the head of the reply was here; not there if it never was. */
  readonly headMs?: number;
  /** From the pick: until the last byte of the reply. */
  readonly durationMs: number;
  readonly outcome: Outcome;
  /** As in the call. */
  readonly status?: number;
  /** `reason` of its error; not there for a reply. */
  readonly reason?: ErrorReason;
  /** How far the request got: `replied` once the head of a reply was here. */
  readonly progress: Progress | "replied";
  readonly sentBytes: number;
  readonly receivedBytes: number;
}

/**
 * Something that the mesh decided for the call, in the order in which it did.
 *
 * - `route`: `result` is the name of the route
 * - `deadline`: `result` is who set it: `call`, `served request`, `route` or `service`
 * - `split`: `result` is the service that a route's `backendRefs` led to
 * - `retry`: `result` is `retry`, `resend` or `hedge`, for an attempt after the first, or why there was none
 * - `refuse`: `result` is the reason for which a limit, or the server, refused the call
 */
export interface TapDecision {
  readonly what: "route" | "deadline" | "split" | "retry" | "refuse";
  readonly result: string;
  /** In words. */
  readonly why: string;
  /** Of the attempt that followed, for `retry` and `split`. */
  readonly attempt?: number;
}

/** Calls that the filter let through and that are not shown; comes before the event that follows them. */
export interface TapLost {
  readonly version: 1;
  readonly event: "lost";
  /** When it was noticed: milliseconds since 1970 by the wall clock. */
  readonly at: number;
  /** Since the last event. */
  readonly count: number;
  /** `buffer`: the reader was too slow, and these were the oldest; `rate`: more came than `maxPerSecond`. */
  readonly because: "buffer" | "rate";
  /** As in `TapEnd`. */
  readonly worker?: number;
}
