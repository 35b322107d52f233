/**
 * The capabilities that have options, by the object in which users write them. An option that is added in a
 * folder's `options.ts` is known to the parser, to merging, to the types, to the schema for editors and to
 * docs/reference/config.md; a capability that has its first options is a line here.
 */
import { BALANCER } from "./balance/options.ts";
import { BREAKER } from "./breaker/options.ts";
import { TIMEOUTS } from "./deadline/options.ts";
import { CLIENT_LIMITS } from "./limit/options.ts";
import { RETRY, RETRY_BUDGET } from "./retry/options.ts";
import { TLS } from "./tls/options.ts";

/** The capabilities by the object in which their options are written. */
export interface PolicyGroups {
  readonly timeouts: typeof TIMEOUTS;
  readonly retry: typeof RETRY;
  readonly retryBudget: typeof RETRY_BUDGET;
  readonly balancer: typeof BALANCER;
  readonly breaker: typeof BREAKER;
  readonly limits: typeof CLIENT_LIMITS;
  readonly tls: typeof TLS;
}

export const POLICY_GROUPS: PolicyGroups = {
  timeouts: TIMEOUTS,
  retry: RETRY,
  retryBudget: RETRY_BUDGET,
  balancer: BALANCER,
  breaker: BREAKER,
  limits: CLIENT_LIMITS,
  tls: TLS,
};
