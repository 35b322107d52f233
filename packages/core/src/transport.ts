/**
 * Everything a protocol must supply. HTTP, gRPC and the stub in memory implement this and nothing else, and pass
 * testing/transport-conformance.ts.
 */
import type { Attempt, Reply } from "./call.ts";
import type { EndpointInfo } from "./endpoint-info.ts";

export interface Transport<Req, Res extends Reply> {
  /** Makes the way to one endpoint. Opens no socket before the first send. */
  connect(endpoint: EndpointInfo): Connection<Req, Res>;
  /** What keeps it from using what is configured now: certificates that do not fit, say. */
  readonly problem?: string | undefined;
  /**
   * Resolves when it can make connections: an identity source from outside has answered. Undefined: it can
   * already. Calls wait for it as they do for the first answer of discovery.
   */
  readonly ready?: Promise<void> | undefined;
}

export interface Connection<Req, Res extends Reply> {
  /**
   * Sends one attempt. Resolves when the reply has started (its head is known), and calls
   * `attempt.settle(outcome)` exactly once, when the last byte was read, dropped or failed. If it
   * rejects, it rejects with a MeshError and has settled before. It installs `attempt.canceller`
   * before it returns.
   */
  send(attempt: Attempt<Req>): Promise<Res>;
  /** Waits for attempts in flight, at most `graceMs`, then breaks them off. Idempotent. */
  close(graceMs: number): Promise<void>;
  /** Completes a handshake and keeps the connection; for breakers that opened on a refused one. */
  probe(): Promise<boolean>;
  /** There is a connection that takes an attempt at this moment. Undefined: the protocol does not say. */
  readonly connected?: boolean | undefined;
  /** Attempts in its queue, which `limits.maxQueuedPerEndpoint` bounds. Undefined: it has none. */
  readonly queued?: number;
  /** For people who ask; never for a call. Left out: the protocol does not say. */
  describe?(): ConnectionFacts;
}

/** What there is to say of the way to one endpoint. */
export interface ConnectionFacts {
  /** Connections that are established. */
  readonly open: number;
  /** `http/1.1` or `h2`; undefined before the first connection. */
  readonly application: string | undefined;
  /** Attempts that wait for a connection; undefined: they do not wait here. */
  readonly queued: number | undefined;
  /** Replies whose body the application has not read, each of which holds a connection. */
  readonly unread: number | undefined;
}
