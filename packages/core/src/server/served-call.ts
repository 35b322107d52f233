/**
 * A request on its way through a server, and what layers of the application may see of it. The object of
 * a protocol extends it, so nothing is made for the layers: the view they get is the request itself.
 */
import type { Outcome } from "../call.ts";
import { ServedRequest, type Priority } from "../context.ts";
import type { HeadField } from "../route/facts.ts";
import type { ServerPeer } from "../tls/peer.ts";

/** How a request ended. */
export interface ServerEnd {
  /** As in the metrics: `success`, `failure`, `timeout`, `overloaded`, `abandoned`. */
  readonly outcome: Outcome;
  /** Sent to the client: the HTTP status, or the code of gRPC. 0 over HTTP if there was none. */
  readonly status: number;
  /** Why it was refused or cut short by the server; undefined: neither. */
  readonly reason: string | undefined;
  /** Milliseconds from its head to the last byte of its reply. */
  readonly durationMs: number;
}

/** A request, as layers of the application see it. */
export interface ServerRequest {
  /** Name of the server, as in its metrics. */
  readonly service: string;
  /** `http` or `grpc`. */
  readonly protocol: string;
  /** As in the metrics: the full name of the method for gRPC, `default` for HTTP. */
  readonly route: string;
  /** `GET`; for gRPC always `POST`. */
  readonly method: string;
  /** Without the query: `/v1/orders`; for gRPC `/shop.Orders/Get`. */
  readonly path: string;
  /** Behind the `?`; empty without one. */
  readonly query: string;
  /** Looked up when it is asked for. */
  readonly peer: ServerPeer;
  /**
   * Value of a header or metadata key, by name in any case; undefined if there is none, or it is binary.
   * What the posture removes is not there (docs/reference/headers.md).
   */
  header(name: string): string | undefined;
  /** Instant at which its caller gives up, on the clock of `performance.now()`. Infinity: it did not say. */
  readonly deadlineAt: number;
  /** Number of this attempt, from 1. */
  readonly attempt: number;
  /** As far as the posture grants it. */
  readonly priority: Priority;
  /** W3C trace context, if what came is valid. */
  readonly traceparent: string | undefined;
  /**
   * Calls `listener` once when the request has ended: its reply is out, it was refused, or its client has
   * gone. An error that it throws is logged and harms nothing else.
   */
  onEnd(listener: (end: ServerEnd) => void): void;
}

/**
 * Where it is.
 *
 * - `arrived`: nothing is held for it; a refusal leaves no trace but its answer
 * - `admitted`: it counts as in progress, and layers of the application decide about it
 * - `begun`: its handler has it
 * - `ended`: its end has been reported
 */
export type ServedPhase = "arrived" | "admitted" | "begun" | "ended";

type EndListener = (end: ServerEnd) => void;

export abstract class ServedCall extends ServedRequest implements ServerRequest {
  /** Writer: the pipeline. */
  phase: ServedPhase = "arrived";
  /** On the runtime's clock; 0 while it was not needed. Writers: a protocol that knows it; the pipeline. */
  startedAt = 0;
  /** Milliseconds that the caller still waits, on arrival; Infinity if it did not say. Writer: the protocol. */
  remainingMs: number = Infinity;
  /** Of all names and values of its head. Writer: the protocol. */
  headBytes = 0;
  /** Why the server cut it short while its handler had it. Writer: the protocol. */
  cut: string | undefined = undefined;
  /** For its end. Writers: layers of the application, by `onEnd`; the pipeline takes them. */
  endListeners: EndListener[] | undefined = undefined;

  abstract readonly service: string;
  abstract readonly protocol: string;
  abstract readonly route: string;
  abstract readonly method: string;
  abstract readonly path: string;
  abstract readonly query: string;
  abstract override get peer(): ServerPeer;
  abstract header(name: string): string | undefined;
  /** Another instrumentation makes a span for it, where its handler is called. */
  abstract readonly tracedByOthers: boolean;
  /** For observers: of its connection. */
  abstract readonly httpVersion: string;
  /** For observers: every field of its head, with lower-case name. */
  abstract fields(): HeadField[];

  /** What was sent: the protocol's own status, the one of HTTP that stands for it, and what they say. */
  abstract readonly endStatus: number;
  abstract readonly endHttpStatus: number;
  abstract readonly endOutcome: Outcome;

  onEnd(listener: EndListener): void {
    if (typeof listener !== "function") throw new TypeError("onEnd: takes a function");
    if (this.phase === "ended") return; // a layer that waited asks too late: the client has left
    (this.endListeners ??= []).push(listener);
  }
}
