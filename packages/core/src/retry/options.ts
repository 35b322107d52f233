/** What is tried again, and how much of it a service bears. See option.ts. */
import type { ParsedOptions } from "../option.ts";

export const RETRY = {
  /**
   * Attempts of a call, the first included; 1 means no retries by policy.
   * - Reason: One retry, as Linkerd and Envoy.
   * - No effect when the call is not idempotent or its body cannot be replayed, or the retry
   *   budget is spent
   * - Elsewhere: Gateway API `retry.attempts` (counts retries only), Envoy `num_retries`
   *   (likewise), gRPC `maxAttempts`
   */
  attempts: { type: "integer", unit: "attempts", default: 2, min: 1, max: 5, route: true },
  /**
   * Reply statuses that are tried again elsewhere.
   * - Reason: "Try elsewhere", and what a broken instance answers.
   * - No effect when `retry.attempts` is 1
   * - Elsewhere: Gateway API `retry.codes`, Envoy `retriable_status_codes`, gRPC
   *   `retryableStatusCodes`
   */
  codes: {
    type: "list",
    unit: "HTTP statuses",
    default: [429, 500, 502, 503, 504],
    min: 400,
    max: 599,
    route: true,
  },
  /**
   * Pause before the first retry, with full jitter; doubles with every further one.
   * - Reason: Short, because another endpoint is tried.
   * - No effect when `retry.attempts` is 1
   * - Elsewhere: Gateway API `retry.backoff`, Envoy `retry_back_off.base_interval`, gRPC
   *   `initialBackoff`
   */
  backoff: { type: "duration", default: "25ms", max: "1m", route: true, as: "backoffBaseMs" },
  /**
   * Ceiling of the pauses; not below `retry.backoff`.
   * - Reason: Linkerd's ceiling.
   * - No effect when `retry.attempts` is 1
   * - Elsewhere: Envoy `retry_back_off.max_interval`, gRPC `maxBackoff`
   */
  maxBackoff: {
    type: "duration",
    default: "250ms",
    max: "1m",
    route: true,
    as: "backoffMaxMs",
    atLeast: "backoff",
  },
} as const;

export const RETRY_BUDGET = {
  /**
   * Retries that each call pays for. Sending again what no server has seen (connection refused,
   * GOAWAY) costs nothing. One route of several spends what its own calls paid, and half of the
   * reserve at most.
   * - Reason: Finagle, tower, Linkerd and Envoy agree.
   * - Elsewhere: Gateway API `retryConstraint.budget.percent`, Linkerd
   *   `retryBudget.retryRatio`, Envoy `retry_budget.budget_percent`, gRPC
   *   `retryThrottling.tokenRatio`
   */
  ratio: { type: "number", unit: "retries per call", default: 0.2, max: 1 },
  /**
   * Retries that no call needs to pay for, per process and service.
   * - Reason: 400 clients with ten a second each could double the load.
   * - Elsewhere: Gateway API `retryConstraint.minRetryRate`, Linkerd `minRetriesPerSecond`,
   *   Envoy `min_retry_concurrency` (at one time)
   */
  minPerSecond: { type: "number", unit: "retries per second", default: 1, max: 1_000 },
  /**
   * How long a call's contribution may be spent.
   * - Reason: Finagle, tower.
   * - No effect when `retryBudget.ratio` is 0
   * - Elsewhere: Gateway API `retryConstraint.budget.interval`, Linkerd `retryBudget.ttl`
   */
  window: { type: "duration", default: "10s", min: "1s", max: "1m" },
} as const;

export type RetryConfig = ParsedOptions<typeof RETRY>;
export type RetryBudgetConfig = ParsedOptions<typeof RETRY_BUDGET>;
