/**
 * What an observer sees: the contract of `mesh.observe`. Everything here is plain to read and typed,
 * the same for HTTP and gRPC, and holds nothing of the mesh that could be changed by accident. Instants
 * (`…At`) are milliseconds of the mesh's monotonic clock, `mesh.runtime.now()`; only differences of them
 * mean something. Bytes are those of bodies (gRPC: of messages, before compression), without heads.
 */
import type { BreakerState, BreakerTrigger } from "../breaker/breaker.ts";
import type { AttemptKind, DeadlineSource, Outcome, PickRule } from "../call.ts";
import type { Mistake } from "../config/mistakes.ts";
import type { ServerPeer } from "../tls/peer.ts";
import type { ErrorReason, MeshError, NoRetry, Progress } from "../errors.ts";
import type { HeadField } from "../route/facts.ts";

/**
 * Hooks that are called as things happen, in the turn in which they happen; each may be left out. What a
 * hook returns is not awaited. One that throws, or rejects, is counted (`mesh.snapshot().observers`,
 * `inmesh.hook.errors`) and logged once, and changes nothing for the call. Hooks are on the path of every
 * call: one that takes a millisecond makes every call a millisecond slower.
 *
 * An observer sees the calls and served requests that begin while it is attached, from their
 * beginning; of those that began before it sees nothing, so an end always follows its start. From the
 * moment it is detached it sees nothing any more, also not the ends of what is in progress.
 */
export interface Observer {
  /**
   * A call begins: before limits, route and deadline, in the context of its caller. Not called for calls of a
   * mesh that is closed, or of a service that was removed.
   */
  callStarted?(call: ObservedCall): void;
  /** An endpoint was picked for an attempt, and nothing has been sent: the time to set header fields. */
  attemptStarted?(attempt: StartedAttempt): void;
  /** The last byte of its reply was read, dropped or failed. */
  attemptEnded?(attempt: EndedAttempt): void;
  /** After the end of its last attempt; also for calls that were refused before there was one. */
  callEnded?(call: EndedCall): void;
  /**
   * A server of this mesh (`meshServer`, `meshGrpcServer` with `{ mesh }`) has read the head of a request.
   * Called before anything is refused; not called for health checks that the server answers itself.
   */
  servedStarted?(request: ObservedRequest): void;
  /** Its reply is out, its connection has gone, or it was refused. */
  servedEnded?(request: EndedRequest): void;
  /** An endpoint came, went, got another weight, or its breaker changed state. */
  endpointChanged?(change: EndpointChange): void;
  /** A source of configuration said something: it was applied, brought nothing new, or was refused. */
  configChanged?(change: ConfigChange): void;
  /** Discovery named other endpoints, failed, works again, or is not needed for now. */
  discoveryChanged?(change: DiscoveryChange): void;
}

/** A call in progress. The same object in all its hooks, so that it can be the key of a WeakMap. */
export interface ObservedCall {
  /** Counts the observed calls of this mesh, from 1. */
  readonly id: number;
  /** `http` or `grpc`. */
  readonly protocol: string;
  readonly service: string;
  /** Of the service: whether its connections are TLS. */
  readonly scheme: "http" | "https";
  /** What the service is addressed as, in Host or `:authority`: `orders`, `orders.shop.svc:8080`. */
  readonly authority: string;
  /** Name of the matched route, or `default`; empty in `callStarted`, before a route is matched. */
  readonly route: string;
  /** HTTP's method; `POST` for gRPC. */
  readonly method: string;
  /** Without query; for gRPC `/package.Service/Method`. */
  readonly path: string;
  /** Behind the `?`, as sent; empty without one. */
  readonly query: string;
  /** First value of a field of the request's head, by lower-case name, as all attempts send it. */
  header(name: string): string | undefined;
  /** Every field of that head with its lower-case name, in a new list; secrets are in it. */
  fields(): HeadField[];
  readonly startedAt: number;
  /** When the call's time is over; Infinity: no deadline is set (yet: a route's is set after `callStarted`). */
  readonly deadlineAt: number;
  /** Who set it; undefined as long as there is none. */
  readonly deadlineFrom: DeadlineSource | undefined;
  /** Attempts begun so far. */
  readonly attempts: number;
  /** The request being served that it is made for; undefined outside of one, or where that is not observed. */
  readonly servedFor: ObservedRequest | undefined;
  /**
   * The sampled trace that the measurements of the call carry as exemplars: 32 hexadecimal digits. From the
   * `traceparent` that the call was given, or that of the request being served; undefined: neither is sampled. An
   * observer that makes spans may set it in `callStarted`, or take it away. Setting it to anything else throws a
   * TypeError.
   */
  traceId: string | undefined;
}

/** A call that is over. */
export interface EndedCall extends ObservedCall {
  /** As in `inmesh.calls`. */
  readonly outcome: Outcome;
  /**
   * What the application got: an HTTP status, or the number of a gRPC status, also of one that the mesh
   * made. Undefined: an HTTP call that failed without a reply.
   */
  readonly status: number | undefined;
  /** Why it failed; undefined for a reply, whatever its status. Its `cause` is what happened below. */
  readonly error: MeshError | undefined;
  /** Why no further attempt was made after one that could have been repeated. */
  readonly notRetried: NoRetry | undefined;
  /** From `startedAt` to the last byte of the reply. */
  readonly durationMs: number;
  /** Bytes that all its attempts that have ended have sent. */
  readonly sentBytes: number;
  readonly receivedBytes: number;
  /** The last that was begun; undefined: no endpoint was picked for the call. */
  readonly lastAttempt: EndedAttempt | undefined;
}

/** One try of a call against one endpoint. The same object in all its hooks. */
export interface ObservedAttempt {
  readonly call: ObservedCall;
  /** From 1. */
  readonly number: number;
  /** `first`, `retry` (may have been processed before), `resend` (certainly was not), `hedge` (beside one that runs). */
  readonly kind: AttemptKind;
  /** The one that it repeats, or that was begun before it; undefined for the first. */
  readonly previous: ObservedAttempt | undefined;
  /** Why the previous one was not enough: the reason of its error, or `status` for a reply. None for a hedge. */
  readonly retryReason: ErrorReason | "status" | undefined;
  /** The service whose endpoint it is: another one than the call's where a route has backendRefs. */
  readonly backend: string;
  /** `host:port`, or `unix:path`. */
  readonly endpoint: string;
  readonly zone: string | undefined;
  /** Which rule of the balancer decided; `why` says it in words. */
  readonly pickedBy: PickRule;
  readonly why: string;
  /** What the balancer compares of this endpoint (expected milliseconds, scaled by load), when it is asked for. */
  readonly cost: number;
  /** State of the endpoint's breaker, when it is asked for: `half-open` at the start of an attempt is a probe. */
  readonly breaker: BreakerState;
  /** The instant of the pick. */
  readonly startedAt: number;
  /** Value of a field of the head by lower-case name, as this attempt sends it: its own, else the call's. */
  header(name: string): string | undefined;
}

/** An attempt that is about to be sent. */
export interface StartedAttempt extends ObservedAttempt {
  /**
   * Sets a header field (gRPC: metadata) of this attempt alone, in the place of what the call sends under
   * that name; no other attempt sends it. Only during `attemptStarted`: later it has no effect. Throws a
   * TypeError for a name or value that cannot be sent or is not the application's (`x-mesh-…`, `grpc-…`,
   * `host`, framing), and above 16 names or 8,192 bytes. Of `mesh.agent()`, node:http writes the head when
   * the request is ended or first written to: attempts after that send what the attempt before them did.
   */
  setHeader(name: string, value: string): void;
}

/** An attempt that has ended. */
export interface EndedAttempt extends ObservedAttempt {
  readonly previous: EndedAttempt | undefined;
  /** What it says about its endpoint. */
  readonly outcome: Outcome;
  /** An HTTP status, or the number of a gRPC status; undefined: there was no reply, see `error`. */
  readonly status: number | undefined;
  /** Why there is no reply, or no whole one. */
  readonly error: MeshError | undefined;
  /** How far the request got: `replied` once the head of a reply is here. */
  readonly progress: Progress | "replied";
  /** Its connection had carried an attempt before; undefined: it never had a connection. */
  readonly connectionReused: boolean | undefined;
  /**
   * Who is at the other end of its connection, with the names of the certificate that the handshake has proven; undefined:
   * it never had a connection, or its transport does not say (gRPC, `mesh.agent()`).
   */
  readonly peer: ServerPeer | undefined;
  /** Until it had a connection; undefined: it never did. */
  readonly queuedMs: number | undefined;
  /** Until the head of the reply was here; undefined: it never was. */
  readonly headMs: number | undefined;
  /** Until the last byte of the reply. */
  readonly durationMs: number;
  /** 0 for `mesh.agent()`, whose bodies go between node:http and the connection. */
  readonly sentBytes: number;
  readonly receivedBytes: number;
}

/** A request being served. The same object in both its hooks. */
export interface ObservedRequest {
  /** Counts the observed requests of this mesh, from 1. */
  readonly id: number;
  /** `http` or `grpc`. */
  readonly protocol: string;
  /** The server's `name`. */
  readonly server: string;
  /** As in the metrics: the full name of the method for gRPC, `default` for HTTP. */
  readonly route: string;
  /** HTTP's method; `POST` for gRPC. */
  readonly method: string;
  /** Without query; for gRPC `/package.Service/Method`. */
  readonly path: string;
  /** Behind the `?`; empty without one. */
  readonly query: string;
  /** Value of a field of its head, by name, as the handler sees it. */
  header(name: string): string | undefined;
  /** Every field of that head with its lower-case name, in a new list; secrets are in it. */
  fields(): HeadField[];
  /** Of the connection: `1.1`, or `2`, also for gRPC. */
  readonly httpVersion: string;
  readonly startedAt: number;
  /** When the caller gives up; Infinity: it did not say. Known once the request is admitted. */
  readonly deadlineAt: number;
  /** The caller's attempt, from 1, as far as the server trusts what it says. */
  readonly attempt: number;
  readonly priority: "critical" | "normal" | "sheddable";
  /** W3C trace context as it came, if it is valid. */
  readonly traceparent: string | undefined;
  readonly tracestate: string | undefined;
  /** As of a call: from the `traceparent` that came, until an observer sets it. */
  traceId: string | undefined;
  /** Who is at the other end of its connection. */
  readonly peer: ServerPeer;
}

/** A request that is over. */
export interface EndedRequest extends ObservedRequest {
  /**
   * `success`: answered, whatever it said about its caller; `failure`: an HTTP status from 500 up, or such a
   * status of gRPC; `overloaded`: refused before work began; `timeout`: expired on arrival; `abandoned`: the
   * caller left before the reply was out.
   */
  readonly outcome: Outcome;
  /** An HTTP status, or the number of a gRPC status; undefined: the caller left before there was one. */
  readonly status: number | undefined;
  /** Why the server refused it, or cut it short; undefined: its handler answered. */
  readonly reason: string | undefined;
  readonly durationMs: number;
  /**
   * What the handler has written as the body of the reply; over gRPC messages as they are framed, compressed and
   * with 5 bytes each in front. 0 for a refusal, and for gRPC where its streams are not seen.
   */
  readonly sentBytes: number;
  /** What has come of the request's body, read or not; over gRPC as for `sentBytes`. */
  readonly receivedBytes: number;
}

export interface EndpointChange {
  readonly service: string;
  readonly protocol: string;
  /** `draining`: it began to drain, or is back; the field of that name says which. */
  readonly kind: "added" | "removed" | "weight" | "draining" | "breaker";
  /** `host:port`, or `unix:path`. */
  readonly endpoint: string;
  readonly zone: string | undefined;
  readonly weight: number;
  /** Discovery says that it is about to go: it gets no new attempts. */
  readonly draining: boolean;
  /** The state of its breaker now. */
  readonly breaker: "closed" | "open" | "half-open";
  /** What opened it; undefined while it is closed. */
  readonly trigger: BreakerTrigger | undefined;
}

export interface ConfigChange {
  /** `code`, `environment`, `file`, or the name of a source of the application. */
  readonly source: string;
  /** `failed`: the source reported a failure; `late`: it spoke after its end, and was ignored. */
  readonly result: "applied" | "unchanged" | "refused" | "failed" | "late";
  /** Of the configuration in force afterwards. */
  readonly version: number;
  /** Of what was refused, or why the source failed. */
  readonly mistakes: readonly Mistake[];
}

export interface DiscoveryChange {
  readonly service: string;
  readonly protocol: string;
  /** `static`, `file`, `dns`, or the name that a discovery of the application gave itself. */
  readonly source: string;
  /**
   * `current`: this is what discovery says; `stale`: it failed, and the last good endpoints stay; `idle`: no
   * service calls any of them, so they were forgotten (each without an `endpointChanged`).
   */
  readonly state: "current" | "stale" | "idle";
  /** How many there are now. */
  readonly endpoints: number;
  /** Why it is stale. */
  readonly error: Error | undefined;
}
