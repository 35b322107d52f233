/**
 * A connection checked out by a caller that speaks HTTP itself (doors/agent.ts). The call goes through the
 * whole pipeline, and its attempts through the balancer; only instead of a reply the transport gives
 * a connection. Until then a failed attempt is followed by others as in any call. From then on the
 * borrower sends the request and says how it went, which settles the attempt and with it the call:
 * so breakers, metrics and the deadline are right, and nothing is sent a second time.
 */
import type { Socket } from "node:net";
import {
  MeshError,
  stacklessError,
  type Attempt,
  type AttemptCanceller,
  type HeaderChanges,
  type Outcome,
  type Reply,
  type Runtime,
} from "@inmesh/core/spi";
import { KEEP_ALIVE, retryAfterMs, single, type RawHeaders } from "../headers.ts";
import { HTTP_1_1 } from "../standard.ts";
import { classify, isCallerFault } from "./classify.ts";
import type { LeasedSockets } from "./leased-sockets.ts";
import type { HttpReply } from "./reply.ts";
import { HttpRequest } from "./request.ts";

/** A request whose bytes are not ours. */
export abstract class LeasedRequest extends HttpRequest {
  override get leased(): boolean {
    return true;
  }

  /** What this attempt sends beside or instead of the call's; what the one before it had is put back. */
  abstract changeForAttempt(changes: HeaderChanges | undefined): void;
}

/** What `HttpConnection.send` gives: to a `LeasedRequest` a lease, to every other request a reply. */
export type HttpResult = HttpReply | Lease;

/** One attempt of a request that checks its connection out, for `HttpConnection.send`. */
export function lease(
  attempt: Attempt<HttpRequest>,
  sockets: LeasedSockets,
  runtime: Runtime,
): Promise<Lease> {
  const { call } = attempt;
  call.request.stamp(attempt.announcedNumber, call.deadlineAt - attempt.startedAt);
  if (call.request instanceof LeasedRequest) call.request.changeForAttempt(attempt.headers);
  return new Promise((resolve, reject) =>
    new Lease(attempt, runtime).take(sockets, resolve, reject),
  );
}

export class Lease implements Reply, AttemptCanceller {
  readonly outcome = "success";
  readonly nacked = false;
  readonly final = true;
  readonly code = 0;
  readonly retryAfterMs = undefined;
  readonly waitsForAll = false;
  /** The deadline has passed, or the mesh is closing: the borrower must end the request. */
  onCancel: ((error: MeshError) => void) | undefined = undefined;
  /** What the route changes in the reply that the borrower will get. */
  changes: HeaderChanges | undefined = undefined;
  socket!: Socket;
  #sockets!: LeasedSockets;
  readonly #attempt: Attempt<HttpRequest>;
  readonly #runtime: Runtime;

  constructor(attempt: Attempt<HttpRequest>, runtime: Runtime) {
    this.#attempt = attempt;
    this.#runtime = runtime;
    attempt.canceller = this;
  }

  get address(): string | undefined {
    return this.#attempt.endpoint?.address;
  }

  take(
    sockets: LeasedSockets,
    resolve: (lease: Lease) => void,
    reject: (error: MeshError) => void,
  ): void {
    this.#sockets = sockets;
    const borrower = (error: MeshError | null, socket: Socket | null, reused: boolean): void => {
      const attempt = this.#attempt;
      if (attempt.outcome !== undefined) {
        // Cancelled while a connection was opened: the next one can have it.
        socket?.emit("free");
        return;
      }
      if (socket === null) {
        attempt.connectFailed = error!.code === "connect_failed";
        this.fail(error!, attempt.connectFailed ? "failure" : "abandoned");
        reject(error!);
        return;
      }
      this.socket = socket;
      attempt.sentAt = this.#runtime.now();
      attempt.connectionReused = reused;
      attempt.wireVersion = HTTP_1_1;
      this.onCancel = undefined;
      resolve(this);
    };
    this.onCancel = (error) => {
      sockets.leave(borrower);
      reject(error);
    };
    sockets.take(borrower);
  }

  changeHeaders(changes: HeaderChanges): void {
    this.changes = changes;
  }

  /** The head of the reply is here; the outcome that it will settle with if the body is whole. */
  replied(status: number, headers: RawHeaders): Outcome {
    const attempt = this.#attempt;
    const waitMs = retryAfterMs(headers);
    const outcome = classify(status, waitMs !== undefined);
    this.#sockets.hinted(this.socket, single(headers, KEEP_ALIVE));
    attempt.code = status;
    attempt.callerFault = isCallerFault(status);
    if (outcome === "overloaded") attempt.busyForMs = waitMs ?? 0;
    attempt.answeredAt = this.#runtime.now();
    attempt.answered(attempt.answeredAt);
    return outcome;
  }

  /** How it went, once; later calls have no effect. */
  settle(outcome: Outcome): void {
    this.onCancel = undefined;
    this.#attempt.settle(outcome);
  }

  fail(cause: Error, outcome: Outcome): void {
    const attempt = this.#attempt;
    if (attempt.outcome !== undefined) return;
    const error =
      cause instanceof MeshError
        ? cause
        : stacklessError(
            outcome === "abandoned" ? "cancelled" : "connection_lost",
            outcome === "abandoned" ? "caller" : "reset_before_response",
            "maybe-processed",
            `${attempt.call.service} → ${attempt.endpoint?.address}: ${cause.message}`,
            cause,
          );
    error.endpoint ??= attempt.endpoint?.address;
    attempt.error = error;
    this.settle(outcome);
  }

  cancelAttempt(error: MeshError, outcome: "timeout" | "abandoned"): void {
    const { onCancel, socket } = this;
    // Without a connection it says nothing about how fast the endpoint answers.
    this.fail(error, socket === undefined ? "abandoned" : outcome);
    onCancel?.(error);
  }

  /** It was not taken. */
  discard(): void {
    this.settle("abandoned");
    this.socket.emit("free");
  }
}
