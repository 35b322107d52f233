/**
 * The capabilities that have options, by the object in which users write them. An option that is added in a
 * folder's `options.ts` is known to the parser, to merging, to the types, to the schema for editors and to
 * docs/reference/config.md; a capability that has its first options is a line here.
 */
import { BALANCER } from "./balance/options.ts";
import { BREAKER } from "./breaker/options.ts";
import { TIMEOUTS } from "./deadline/options.ts";
import { CLIENT_LIMITS } from "./limit/options.ts";
import type { ParsedOptions, WrittenOptions } from "./option.ts";
import { RETRY, RETRY_BUDGET } from "./retry/options.ts";
import { ROUTES } from "./route/options.ts";
import { readRoutes } from "./route/read.ts";
import { writtenRoute } from "./route/write.ts";
import {
  GRPC_SERVER_LIMITS,
  HTTP_SERVER_LIMITS,
  SERVER,
  SERVER_LIMITS,
  SERVERS,
} from "./server/options.ts";
import { checkTls } from "./tls/check.ts";
import { TLS } from "./tls/options.ts";
import { isInlinePem } from "./tls/pem.ts";
import { ZONES } from "./zones/options.ts";

/** The capabilities by the object in which their options are written. */
export interface PolicyGroups {
  readonly timeouts: typeof TIMEOUTS;
  readonly retry: typeof RETRY;
  readonly retryBudget: typeof RETRY_BUDGET;
  readonly balancer: typeof BALANCER;
  readonly breaker: typeof BREAKER;
  readonly limits: typeof CLIENT_LIMITS;
  readonly tls: typeof TLS;
  readonly zones: typeof ZONES;
}

export const POLICY_GROUPS: PolicyGroups = {
  timeouts: TIMEOUTS,
  retry: RETRY,
  retryBudget: RETRY_BUDGET,
  balancer: BALANCER,
  breaker: BREAKER,
  limits: CLIENT_LIMITS,
  tls: TLS,
  zones: ZONES,
};

/** The limits of servers of every protocol, which are written in one object. */
type ServerLimitOptions = typeof SERVER_LIMITS &
  typeof HTTP_SERVER_LIMITS &
  typeof GRPC_SERVER_LIMITS;

export const SERVER_LIMIT_OPTIONS: ServerLimitOptions = {
  ...SERVER_LIMITS,
  ...HTTP_SERVER_LIMITS,
  ...GRPC_SERVER_LIMITS,
};

/** Of a server, what is in force is what code says over this over the defaults. */
export type ServerConfig = Partial<ParsedOptions<typeof SERVER>> & {
  readonly limits: Partial<ParsedOptions<ServerLimitOptions>>;
};

/** As users write it. */
export type ServerInput = WrittenOptions<typeof SERVER> & {
  readonly limits?: WrittenOptions<ServerLimitOptions>;
};

export { checkTls, isInlinePem, readRoutes, ROUTES, SERVER, SERVERS, writtenRoute };
export type { RouteRules, RouteRulesInput } from "./route/types.ts";
