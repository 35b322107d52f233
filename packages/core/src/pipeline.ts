/**
 * THE order of the layers, in request direction, top first, with the reason for each place. It is
 * compiled once per configuration; what a service does not use is left out here, so a call never
 * asks whether something is switched on.
 *
 *   1 call record    outermost: counts every call once, also those refused below, and ends it; where
 *                    no layer of the application is between them, 5 ends it, which spares a promise
 *   2 limit          protects this process: before any timer is armed or route matched
 *   3 route          timeouts, retry policy and destinations are chosen by it, so it comes first; its
 *                    changes of headers too, so that every attempt sends the same, changed once
 *   4 deadline       above retry: one deadline covers all attempts, the pauses and the body
 *   5 retry          the split: above it Calls, below it Attempts
 *   6 attempt record below retry: one per try
 *   7 balance        each attempt picks afresh and can avoid the endpoint that just failed
 *   – connection     the transport
 *
 * Endpoint breakers are not in the list: they listen to outcomes, and change which endpoints the
 * picker of 7 can see. Neither are observers (observe/): 1, 7 and the two ends (`Call.end`,
 * `Attempt.settle`) notify them, where there are any. Applications may add layers after 1 (`callLayers`) and
 * after 6 (`attemptLayers`); where they do, own-layers.ts stands above them.
 */
import type { ActiveCalls } from "./active-calls.ts";
import { balance, type Backend } from "./balance/balance.ts";
import type { Attempt, Call, Reply } from "./call.ts";
import type { RouteConfig, ServiceConfig } from "./config/types.ts";
import { deadline } from "./deadline/deadline.ts";
import type { Handler, Layer } from "./handler.ts";
import { limit } from "./limit/limit.ts";
import type { ObservedProtocol } from "./observe/call-observation.ts";
import type { Observers } from "./observe/observers.ts";
import { neverThrow, outliveLayers } from "./own-layers.ts";
import type { RefusalLog } from "./refusal-log.ts";
import type { RetryBudget } from "./retry/budget.ts";
import { retry } from "./retry/retry.ts";
import type { RoutedRequest } from "./route/facts.ts";
import { headerChanges } from "./route/header-changes.ts";
import { route, type CompiledRoute } from "./route/route.ts";
import type { BackendRefConfig } from "./route/types.ts";
import { compileSplit } from "./route/split.ts";
import { compileTable } from "./route/table.ts";
import type { Runtime } from "./runtime/runtime.ts";
import { attemptRecord, callEnds, callRecord, RouteRecord } from "./telemetry/record.ts";
import type { Telemetry } from "./telemetry/telemetry.ts";

export interface PipelineParts<Req, R extends Reply> {
  readonly service: ServiceConfig;
  readonly protocol: ObservedProtocol;
  readonly observers: Observers;
  /** The running backend of a service, by name: the service's own, or one that a route refers to. */
  readonly backendOf: (name: string) => Backend<Req, R>;
  readonly budget: RetryBudget;
  readonly active: ActiveCalls;
  readonly telemetry: Telemetry;
  readonly runtime: Runtime;
  /** Hears of calls that the limit refuses. Default: nothing does. */
  readonly refusals?: RefusalLog | undefined;
  readonly callLayers?: readonly Layer<Call<Req>, R>[];
  readonly attemptLayers?: readonly Layer<Attempt<Req>, R>[];
}

/** What holds for calls that no route matches. */
export function defaultRoute({ timeouts, retry: policy }: ServiceConfig): RouteConfig {
  return {
    name: "default",
    matches: [],
    timeouts,
    retry: policy,
    idempotent: false,
    overloadedMeansUnprocessed: false,
    streaming: false,
    filters: [],
    backendRefs: [],
  };
}

/** Where a route sends to, by weight: without backendRefs the service itself. */
export function backendsOf(
  service: ServiceConfig,
  { backendRefs }: RouteConfig,
): readonly BackendRefConfig[] {
  return backendRefs.length === 0 ? [{ name: service.name, weight: 1 }] : backendRefs;
}

export function compilePipeline<Req extends RoutedRequest, R extends Reply>(
  parts: PipelineParts<Req, R>,
): Handler<Call<Req>, R> {
  const { service, active, runtime } = parts;
  const fallback = defaultRoute(service);
  const { callLayers = [], attemptLayers = [] } = parts;
  const own = callLayers.length + attemptLayers.length > 0;
  const record = recordOf(parts, "default");
  const routes = service.routes.map((config) => ({
    config,
    value: compileRoute(parts, config, recordOf(parts, config.name), !own),
  }));
  const table = compileTable(routes, compileRoute(parts, fallback, record, !own));
  return chain<Call<Req>, R>(
    [
      callRecord(record, active, runtime, !own, parts.observers, parts.protocol), // 1
      ...(own ? [outliveLayers<Req, R>(service.timeouts.requestMs, runtime)] : []),
      ...callLayers,
      ...(own ? [neverThrow<Call<Req>, R>] : []),
      limit(service.limits.maxInFlight, active, parts.refusals), // 2
    ],
    route(table), // 3
  );
}

/** Everything below the choice of a route: its half of 3, and 4 to 7. */
function compileRoute<Req extends RoutedRequest, R extends Reply>(
  parts: PipelineParts<Req, R>,
  config: RouteConfig,
  record: RouteRecord,
  endsCalls: boolean,
): CompiledRoute<Req, R> {
  const { service, runtime } = parts;
  // Where there is one route, all of the budget is its own.
  const budget = service.routes.length === 0 ? parts.budget : parts.budget.forRoute();
  const backends = backendsOf(service, config).map(({ name, weight }) => ({
    weight,
    value: parts.backendOf(name),
  }));
  const choose = compileSplit(backends, ({ cluster }) => !cluster.known || cluster.usable);
  const send = chain<Attempt<Req>, R>(
    [attemptRecord(record), ...(parts.attemptLayers ?? [])], // 6
    balance(choose, backends.length === 1, config.timeouts.backendRequestMs, runtime), // 7
  );
  const policy = {
    ...config.retry,
    overloadedMeansUnprocessed: config.overloadedMeansUnprocessed,
  };
  const ends = endsCalls ? callEnds : undefined;
  const attempts = retry<Req, R>(policy, budget, record, runtime, ends)(send); // 5
  const { requestMs, maxRequestMs } = config.timeouts;
  const from = requestMs === service.timeouts.requestMs ? "service" : "route";
  // A stream that is not declared as one keeps its caller's deadline, and gets none of ours.
  const streamMs = config.streaming ? requestMs : Infinity;
  return {
    name: config.name,
    idempotent: config.idempotent,
    recorder: record,
    send: chain<Call<Req>, R>(
      [
        ...headerChanges<Req, R>(config.filters), // 3
        deadline<Req, R>(requestMs, streamMs, maxRequestMs, from, runtime), // 4
      ],
      attempts,
    ),
  };
}

function recordOf<Req, R extends Reply>(parts: PipelineParts<Req, R>, name: string): RouteRecord {
  const { service, protocol, telemetry, active, runtime } = parts;
  const labels = { service: service.name, route: name, protocol: protocol.name };
  return new RouteRecord(telemetry, labels, active, runtime);
}

function chain<In, Out>(
  layers: readonly Layer<In, Out>[],
  inner: Handler<In, Out>,
): Handler<In, Out> {
  return layers.reduceRight((handler, layer) => layer(handler), inner);
}
