/**
 * Turns a Call into Attempts. Whether a failed attempt may be followed by another is decided from
 * how far the request got, never from the error's name:
 *
 *   R0  not sent, or nacked          any method, at once, at most 3 per call
 *   R1  maybe processed, idempotent  after a pause, within `attempts`
 *   R2  maybe processed, otherwise   never
 *   R3  the reply has started        never (the attempt has already returned)
 *
 * All of them need a body that can be sent from its start, and time before the deadline. The budget
 * pays for all but what no server has spent anything on, see `isUnseen`.
 */
import {
  Attempt,
  endWith,
  type AttemptKind,
  type Call,
  type CallEnds,
  type Reply,
} from "../call.ts";
import { MeshError, placed, type NoRetry } from "../errors.ts";
import type { Handler } from "../handler.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { backoffMs } from "./backoff.ts";
import type { Budget } from "./budget.ts";
import type { RetryConfig } from "./options.ts";

export const MAX_RESENDS = 3;
/** A server may ask us to wait, but not for ever: what asks for more is as good as beyond any deadline. */
const MAX_HINT_MS = 60_000;

export interface RetryPolicy extends RetryConfig {
  readonly overloadedMeansUnprocessed: boolean;
}

/** Whether a further attempt was made, or why not. A closed set: it is a metric label. */
export type RetryDecision = "sent" | NoRetry;

export interface RetryRecorder {
  decided(decision: RetryDecision, kind: AttemptKind): void;
}

/** `ends`: what a call's last attempt gives is what its caller gets, and this layer ends the call. */
export function retry<Req, R extends Reply>(
  policy: RetryPolicy,
  budget: Budget,
  recorder: RetryRecorder,
  runtime: Runtime,
  ends: CallEnds | undefined,
): (send: Handler<Attempt<Req>, R>) => Handler<Call<Req>, R> {
  const codes = new Set(policy.codes);

  return (send) => {
    // Nearly every call ends with its first attempt: no async function is begun for it.
    return (call: Call<Req>): Promise<R> => {
      budget.deposit(call.startedAt);
      const attempt: Attempt<Req> = new Attempt(call, 1, "first");
      call.attempt = attempt;
      let sent: Promise<R>;
      try {
        sent = send(attempt);
      } catch (error) {
        return rest(call, undefined, placed(error));
      }
      return sent.then(
        (reply) => {
          if (!isDone(reply)) return rest(attempt.call, reply, undefined);
          ends?.delivered(attempt.call);
          return reply;
        },
        // Here, and not where the call ends: the caller awaits the promise that this handler settles.
        (error: unknown) => rest(attempt.call, undefined, placed(error)),
      );
    };

    /** What follows a first attempt with this reply, or this error. */
    function rest(call: Call<Req>, itsReply: R | undefined, error: unknown): Promise<R> {
      const sent = again(call, itsReply, error);
      return ends === undefined ? sent : endWith(call, sent, ends);
    }

    async function again(call: Call<Req>, itsReply: R | undefined, error: unknown): Promise<R> {
      let reply = itsReply;
      let thrown = error;
      let rounds = 1;
      let resends = 0;
      let earlier: MeshError | undefined;
      for (;;) {
        // Of attempts side by side the one that was chosen.
        const attempt = call.attempt!;
        const attempts = rounds + call.hedges;
        let hintMs: number | undefined;
        let failure: MeshError | undefined;
        let unprocessed: boolean;
        let unseen = false;
        if (reply !== undefined) {
          unprocessed =
            reply.nacked || (policy.overloadedMeansUnprocessed && reply.outcome === "overloaded");
          hintMs = reply.retryAfterMs;
        } else {
          if (!(thrown instanceof MeshError)) throw thrown;
          failure = thrown;
          failure.attempts = call.attempts;
          if (!isRetryable(failure)) {
            // No endpoint was left for a further attempt: why the last one failed says more.
            throw failure.code === "no_endpoint" ? (earlier ?? failure) : failure;
          }
          earlier = failure;
          unprocessed = failure.progress === "not-sent";
          unseen = unprocessed && isUnseen(failure);
        }

        // A nack or a request that never left costs no attempt. The first is sent again at once, and
        // elsewhere: the pause that the server asked for is about itself, and its endpoint keeps it.
        const next: AttemptKind = unprocessed && resends < MAX_RESENDS ? "resend" : "retry";
        let pauseMs = 0;
        if (next === "retry" || resends > 0) {
          if (hintMs === undefined || isFree(attempt, reply!, hintMs)) {
            if (next === "retry") pauseMs = pauseAfter(rounds);
          } else pauseMs = hintMs <= MAX_HINT_MS ? hintMs : Infinity;
        }
        const paid = !(unseen && next === "resend");
        const decision = decide(call, next, attempts, pauseMs, reply?.final === true, paid);
        recorder.decided(decision, next);
        if (decision !== "sent") {
          const tried = attempts > 1 || resends > 0 || decision === "budget";
          if (tried || reply?.final === true) call.served?.exhaust();
          call.noRetry = decision;
          if (reply !== undefined) return reply;
          failure!.noRetry = decision;
          throw failure!;
        }
        call.onRetry?.(attempt, pauseMs, reply, failure);
        reply?.discard();
        if (next === "resend") resends++;
        else rounds++;
        if (attempt.endpoint !== undefined) (call.tried ??= []).push(attempt.endpoint);
        if (pauseMs > 0) await pause(call, pauseMs, runtime);
        if (call.cancelled !== undefined) throw placed(call.cancelled);

        call.attempt = new Attempt(call, call.attempts + 1, next);
        reply = thrown = undefined;
        try {
          reply = await send(call.attempt);
        } catch (caught) {
          thrown = placed(caught);
        }
        if (reply !== undefined && isDone(reply)) return reply;
      }
    }
  };

  function pauseAfter(rounds: number): number {
    const { backoffBaseMs, backoffMaxMs } = policy;
    return backoffMs(rounds - 1, backoffBaseMs, backoffMaxMs, runtime.random());
  }

  /**
   * The pause that a server asks for is longer than the call can wait, and meant for that server alone,
   * while another one is there that asks for none: it is tried instead, as if nothing had been asked. With
   * time enough the pause is kept, because who asks for it may speak for more than itself.
   */
  function isFree(attempt: Attempt<Req>, reply: R, hintMs: number): boolean {
    if (reply.waitsForAll) return false;
    if (hintMs <= MAX_HINT_MS && runtime.now() + hintMs < attempt.call.deadlineAt) return false;
    return attempt.cluster?.hasAnother(attempt) === true;
  }

  function isDone(reply: R): boolean {
    return reply.outcome === "success" || !(reply.nacked || codes.has(reply.code));
  }

  function decide(
    call: Call<Req>,
    next: AttemptKind,
    attempts: number,
    pauseMs: number,
    final: boolean,
    paid: boolean,
  ): RetryDecision {
    if (call.cancelled !== undefined) return "deadline";
    if (!call.replayable) return "not_replayable";
    if (next === "retry") {
      if (attempts >= policy.attempts) return "attempts";
      // One layer retries. A call that is itself a retry of an outer hop leaves it to that hop, and a
      // hop below that has retried already says so: three hops must not make 1.2³ of it (B13).
      if (call.inheritedAttempt > 1 || final) return "layer";
      if (!call.idempotent) return "not_idempotent";
    }
    // A pause that the deadline would end is no pause: the failure goes back at once.
    if (runtime.now() + pauseMs >= call.deadlineAt) return "deadline";
    // Last: a withdrawal is spent even when there is no retry.
    return !paid || budget.withdraw() ? "sent" : "budget";
  }
}

function isRetryable(error: MeshError): boolean {
  switch (error.code) {
    case "connect_failed":
    case "connection_lost":
    case "bad_response":
    case "overloaded":
      return true;
    case "deadline_exceeded":
      return error.reason === "attempt_timeout" || error.reason === "queue_wait";
    default:
      return false;
  }
}

/**
 * The attempt cost no server anything, so another one is no further load, and a burst that meets a
 * server on its way out, or one that is gone, must not fail for want of budget. What bounds such
 * re-sends is beside them: a refused connection opens the breaker at once, a GOAWAY ends the
 * connection and those that follow are dialled with pauses. A handshake costs the server more than
 * most calls, and a nack says that it has too much to do: those are paid for (decision 13).
 */
function isUnseen({ reason }: MeshError): boolean {
  return reason === "connect_refused" || reason === "connect_timeout" || reason === "goaway";
}

/** Waits inside a call; a cancelled call ends the wait in the same turn. */
function pause<Req>(call: Call<Req>, pauseMs: number, runtime: Runtime): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      call.onCancel = undefined;
      timer.cancel();
      resolve();
    };
    const timer = runtime.after(pauseMs, done, undefined, true);
    call.onCancel = done;
  });
}
