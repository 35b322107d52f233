/** Why there was no further attempt, in words for people who ask, and what changes it. */
import type { NoRetry } from "../errors.ts";

export const NOT_RETRIED_BECAUSE: Readonly<Record<NoRetry, string>> = {
  attempts: "as many attempts as retry.attempts allows were made",
  budget: "recent calls have not earned another retry (retryBudget)",
  deadline: "the pause before it would have outlasted the deadline",
  layer: "another hop retries already",
  not_idempotent:
    "the call is not idempotent; say idempotent: true, or send an idempotency-key, if it may be sent twice",
  not_replayable: "the body was a stream, and part of it is gone",
};
