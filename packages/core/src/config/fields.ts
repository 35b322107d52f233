/**
 * Every field a user may write: unit, range, meaning, reason of its default, when it has no effect,
 * and what Envoy, gRPC, Linkerd or the Gateway API call it. The schema takes its ranges from here
 * and docs/reference/config.md is generated from here, so the two cannot drift apart.
 */
import { DEFAULT_POLICIES } from "./defaults.ts";
import { formatDuration } from "./duration.ts";

export type FieldType =
  | "duration"
  | "integer"
  | "number"
  | "boolean"
  | "choice"
  | "text"
  /** The path of a PEM file, or the PEM itself. */
  | "pem"
  | "list"
  | "object";

export interface Field {
  /** As written. Policies stand under `defaults` and under each service; `*` is a name, `[]` an item. */
  readonly path: string;
  readonly type: FieldType;
  /** Path in ServicePolicies, which also names the default. Only for policies. */
  readonly parsed?: string;
  /** A route may write it too. */
  readonly route?: true;
  readonly unit?: string;
  readonly min?: number;
  readonly max?: number;
  /** `none` may be written, and means Infinity. */
  readonly none?: true;
  readonly choices?: readonly string[];
  /** Text for the page where the default is no value of DEFAULT_POLICIES. */
  readonly defaultText?: string;
  readonly rangeText?: string;
  readonly meaning: string;
  readonly reason?: string;
  readonly noEffectWhen?: string;
  readonly nameElsewhere?: string;
}

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export const LIMITS: Readonly<
  Record<
    | "services"
    | "routesPerService"
    | "matchesPerRoute"
    | "conditionsPerMatch"
    | "backendRefsPerRoute"
    | "headersPerList"
    | "headerNameLength"
    | "modifierBytes"
    | "fileBytes"
    | "endpointsPerList"
    | "weight"
    | "textLength",
    number
  >
> = {
  services: 500,
  routesPerService: 500,
  matchesPerRoute: 100,
  conditionsPerMatch: 16,
  backendRefsPerRoute: 100,
  headersPerList: 16,
  headerNameLength: 256,
  modifierBytes: 8_192,
  fileBytes: 4 * 1024 * 1024,
  endpointsPerList: 100_000,
  weight: 2 ** 31,
  textLength: 4_096,
};

/** The policies of a service, which `defaults` may set for all. */
export const POLICY_FIELDS: readonly Field[] = [
  {
    path: "timeouts.request",
    parsed: "timeouts.requestMs",
    type: "duration",
    min: 1,
    max: DAY,
    none: true,
    route: true,
    meaning: "Deadline of a whole call: queue, connect, attempts, pauses and body.",
    reason: "Every call ends; longer than a slow page, shorter than a user's patience.",
    noEffectWhen:
      "the caller gives an earlier deadline, or the route is streaming and sets none itself",
    nameElsewhere:
      "Gateway API `timeouts.request`, Envoy `route.timeout`, gRPC `methodConfig.timeout`",
  },
  {
    path: "timeouts.backendRequest",
    parsed: "timeouts.backendRequestMs",
    type: "duration",
    min: 1,
    max: DAY,
    none: true,
    route: true,
    meaning: "One attempt, until the head of its reply.",
    reason: "The age of calls in flight already moves traffic away from a slow endpoint.",
    noEffectWhen: "the call's own deadline comes first",
    nameElsewhere: "Gateway API `timeouts.backendRequest`, Envoy `per_try_timeout`",
  },
  {
    path: "timeouts.connect",
    parsed: "timeouts.connectMs",
    type: "duration",
    min: 1,
    max: 5 * MINUTE,
    meaning: "TCP connect plus TLS handshake, and with HTTP/2 until the peer's settings are here.",
    reason: "Linkerd's outbound value; the operating system would wait about 127 s.",
    noEffectWhen: "a warm connection is free",
    nameElsewhere: "Envoy `connect_timeout`",
  },
  {
    path: "timeouts.queue",
    parsed: "timeouts.queueMs",
    type: "duration",
    min: 1,
    max: DAY,
    none: true,
    meaning: "An attempt waits this long for a free connection; then another endpoint is tried.",
    reason: "Who waits longer is better served elsewhere.",
    noEffectWhen: "a connection is free, or the call's own deadline comes first",
    nameElsewhere: "Linkerd `failfast_timeout`",
  },
  {
    path: "timeouts.bodyIdle",
    parsed: "timeouts.bodyIdleMs",
    type: "duration",
    min: 1,
    max: DAY,
    none: true,
    meaning: "No byte of a reply body for this long ends the call.",
    reason:
      "A peer that falls silent must not hold a connection forever; time in which the reader pauses does not count.",
    noEffectWhen: "the reply has no body",
    nameElsewhere: "Envoy `stream_idle_timeout`",
  },
  {
    path: "retry.attempts",
    parsed: "retry.attempts",
    type: "integer",
    unit: "attempts",
    min: 1,
    max: 5,
    route: true,
    meaning: "Attempts of a call, the first included; 1 means no retries by policy.",
    reason: "One retry, as Linkerd and Envoy.",
    noEffectWhen:
      "the call is not idempotent or its body cannot be replayed, or the retry budget is spent",
    nameElsewhere:
      "Gateway API `retry.attempts` (counts retries only), Envoy `num_retries` (likewise), gRPC `maxAttempts`",
  },
  {
    path: "retry.codes",
    parsed: "retry.codes",
    type: "list",
    unit: "HTTP statuses",
    min: 400,
    max: 599,
    route: true,
    meaning: "Reply statuses that are tried again elsewhere.",
    reason: '"Try elsewhere", and what a broken instance answers.',
    noEffectWhen: "`retry.attempts` is 1",
    nameElsewhere:
      "Gateway API `retry.codes`, Envoy `retriable_status_codes`, gRPC `retryableStatusCodes`",
  },
  {
    path: "retry.backoff",
    parsed: "retry.backoffBaseMs",
    type: "duration",
    min: 0,
    max: MINUTE,
    route: true,
    meaning: "Pause before the first retry, with full jitter; doubles with every further one.",
    reason: "Short, because another endpoint is tried.",
    noEffectWhen: "`retry.attempts` is 1",
    nameElsewhere:
      "Gateway API `retry.backoff`, Envoy `retry_back_off.base_interval`, gRPC `initialBackoff`",
  },
  {
    path: "retry.maxBackoff",
    parsed: "retry.backoffMaxMs",
    type: "duration",
    min: 0,
    max: MINUTE,
    route: true,
    meaning: "Ceiling of the pauses; not below `retry.backoff`.",
    reason: "Linkerd's ceiling.",
    noEffectWhen: "`retry.attempts` is 1",
    nameElsewhere: "Envoy `retry_back_off.max_interval`, gRPC `maxBackoff`",
  },
  {
    path: "retryBudget.ratio",
    parsed: "retryBudget.ratio",
    type: "number",
    unit: "retries per call",
    min: 0,
    max: 1,
    meaning:
      "Retries that each call pays for. Sending again what no server has seen (connection refused, GOAWAY) costs nothing.",
    reason: "Finagle, tower, Linkerd and Envoy agree.",
    nameElsewhere:
      "Gateway API `retryConstraint.budget.percent`, Linkerd `retryBudget.retryRatio`, Envoy `retry_budget.budget_percent`, gRPC `retryThrottling.tokenRatio`",
  },
  {
    path: "retryBudget.minPerSecond",
    parsed: "retryBudget.minPerSecond",
    type: "number",
    unit: "retries per second",
    min: 0,
    max: 1_000,
    meaning: "Retries that no call needs to pay for, per process and service.",
    reason: "400 clients with ten a second each could double the load.",
    nameElsewhere:
      "Gateway API `retryConstraint.minRetryRate`, Linkerd `minRetriesPerSecond`, Envoy `min_retry_concurrency` (at one time)",
  },
  {
    path: "retryBudget.window",
    parsed: "retryBudget.windowMs",
    type: "duration",
    min: SECOND,
    max: MINUTE,
    meaning: "How long a call's contribution may be spent.",
    reason: "Finagle, tower.",
    noEffectWhen: "`retryBudget.ratio` is 0",
    nameElsewhere: "Gateway API `retryConstraint.budget.interval`, Linkerd `retryBudget.ttl`",
  },
  {
    path: "balancer.kind",
    parsed: "balancer.kind",
    type: "choice",
    choices: ["peak-ewma", "least-request", "round-robin", "random"],
    meaning: "How an endpoint is chosen.",
    reason: "Reacts to peaks at once, and beats counting where callers are many.",
    noEffectWhen: "the service has one endpoint",
    nameElsewhere: "Envoy `lb_policy`, gRPC `loadBalancingConfig`",
  },
  {
    path: "balancer.decay",
    parsed: "balancer.decayMs",
    type: "duration",
    min: 100,
    max: 10 * MINUTE,
    meaning: "Decay time of the latency estimate toward the peers.",
    reason: "1 s forgets too fast for sparse callers, 30 s brings nothing.",
    noEffectWhen: "`balancer.kind` is not `peak-ewma`",
    nameElsewhere: "Linkerd `decay`, Finagle `decayTime`",
  },
  {
    path: "balancer.seed",
    parsed: "balancer.seedMs",
    type: "duration",
    min: 1,
    max: MINUTE,
    meaning: "Latency estimate of an endpoint while nobody has data.",
    reason: "Linkerd; only used while no endpoint has data.",
    noEffectWhen: "`balancer.kind` is not `peak-ewma`",
    nameElsewhere: "Linkerd `default_rtt`",
  },
  {
    path: "balancer.penaltyFactor",
    parsed: "balancer.penaltyFactor",
    type: "number",
    unit: "times the peers' median",
    min: 1,
    max: 1_000,
    meaning: "What a failure costs an endpoint.",
    reason: "Bounded: a healed endpoint is back within seconds.",
    noEffectWhen: "`balancer.kind` is not `peak-ewma`",
  },
  {
    path: "balancer.callerFaultFactor",
    parsed: "balancer.callerFaultFactor",
    type: "number",
    unit: "times the peers' median",
    min: 1,
    max: 1_000,
    meaning: "What a reply that blames the caller (4xx) counts at most as latency.",
    reason: "4xx is the caller's fault, but fast 4xx must not attract traffic.",
    noEffectWhen: "`balancer.kind` is not `peak-ewma`",
  },
  {
    path: "balancer.penaltyDecay",
    parsed: "balancer.penaltyDecayMs",
    type: "duration",
    min: 100,
    max: 10 * MINUTE,
    meaning: "Decay time of a penalty.",
    reason: "Long enough to outlast a burst of failures, short enough for a healed endpoint.",
    noEffectWhen: "`balancer.kind` is not `peak-ewma`",
  },
  {
    path: "balancer.penaltyMax",
    parsed: "balancer.penaltyMaxMs",
    type: "duration",
    min: 1,
    max: MINUTE,
    meaning: "The most that penalties can add to an estimate.",
    reason: "A slow service must not make one failure cost minutes.",
    noEffectWhen: "`balancer.kind` is not `peak-ewma`",
  },
  {
    path: "balancer.slowStart",
    parsed: "balancer.slowStartMs",
    type: "duration",
    min: 0,
    max: HOUR,
    meaning: "A new endpoint reaches its full share after this long; `0s`: at once.",
    reason: "p99 is 1.1 s instead of 2.6 s with 10 s when a cold endpoint joins.",
    noEffectWhen: "all endpoints are new",
    nameElsewhere: "Envoy `slow_start_config.slow_start_window`",
  },
  {
    path: "breaker.consecutiveFailures",
    parsed: "breaker.consecutiveFailures",
    type: "integer",
    unit: "failures",
    min: 0,
    max: 1_000,
    meaning: "Failures in a row that take an endpoint out; 0: the rule is off.",
    reason: "Linkerd.",
    nameElsewhere: "Linkerd `failure-accrual-consecutive-max-failures`, Envoy `consecutive_5xx`",
  },
  {
    path: "breaker.failureSpan",
    parsed: "breaker.failureSpanMs",
    type: "duration",
    min: 0,
    max: 10 * MINUTE,
    meaning: "Two failures in a row this far apart take it out too; `0s`: off.",
    reason: "A caller with one request a second would need 7 s of errors otherwise.",
  },
  {
    path: "breaker.successRatio",
    parsed: "breaker.successRatio",
    type: "number",
    unit: "share of replies",
    min: 0,
    max: 1,
    meaning: "Below this share of successes in the window an endpoint is taken out; 0: off.",
    reason: "Linkerd, Finagle.",
    nameElsewhere:
      "Envoy `failure_percentage_threshold` (100 minus it), gRPC `failurePercentageEjection`",
  },
  {
    path: "breaker.peerMargin",
    parsed: "breaker.peerMargin",
    type: "number",
    unit: "share of replies",
    min: 0,
    max: 1,
    meaning: "How much worse than its peers the endpoint must also be.",
    reason: "When everybody fails alike, ejecting one helps nobody.",
    noEffectWhen: "`breaker.successRatio` is 0",
    nameElsewhere: "Envoy `success_rate_stdev_factor` has the same purpose",
  },
  {
    path: "breaker.window",
    parsed: "breaker.windowMs",
    type: "duration",
    min: SECOND,
    max: 10 * MINUTE,
    meaning: "Window of the success ratio.",
    reason: "Long enough for sparse callers, short enough to forget an outage.",
    noEffectWhen: "`breaker.successRatio` is 0",
    nameElsewhere: "Envoy `outlier_detection.interval`",
  },
  {
    path: "breaker.minRequests",
    parsed: "breaker.minRequests",
    type: "integer",
    unit: "replies",
    min: 1,
    max: 10_000,
    meaning: "Replies in the window before the ratio says anything.",
    reason: "Linkerd.",
    noEffectWhen: "`breaker.successRatio` is 0",
    nameElsewhere: "Envoy `failure_percentage_request_volume`",
  },
  {
    path: "breaker.minOpen",
    parsed: "breaker.minOpenMs",
    type: "duration",
    min: 10,
    max: HOUR,
    meaning: "How long an endpoint stays out at first.",
    reason: "Stretched to about ten requests of the endpoint, at most 10 s.",
    nameElsewhere: "Envoy `base_ejection_time`, Linkerd `failure-accrual-consecutive-min-penalty`",
  },
  {
    path: "breaker.maxOpen",
    parsed: "breaker.maxOpenMs",
    type: "duration",
    min: 10,
    max: DAY,
    meaning: "The longest it stays out before it is probed again; not below `breaker.minOpen`.",
    reason: "Linkerd's ceiling; probes are cheap.",
    nameElsewhere: "Envoy `max_ejection_time`, Linkerd `failure-accrual-consecutive-max-penalty`",
  },
  {
    path: "breaker.maxEjectedRatio",
    parsed: "breaker.maxEjectedRatio",
    type: "number",
    unit: "share of endpoints",
    min: 0,
    max: 1,
    meaning: "Share of the endpoints that may be out; above it all are used again.",
    reason: "Half of the fleet failing is more likely our own fault.",
    nameElsewhere: "Envoy `max_ejection_percent`",
  },
  {
    path: "limits.maxInFlight",
    parsed: "limits.maxInFlight",
    type: "integer",
    unit: "calls",
    min: 1,
    max: 1_000_000,
    meaning: "Calls of the service in progress, queued ones included.",
    reason: "Bounds memory; a caller that queues more is not served by waiting.",
    nameElsewhere: "Envoy `circuit_breakers.max_requests` plus `max_pending_requests`",
  },
  {
    path: "limits.maxConnectionsPerEndpoint",
    parsed: "limits.maxConnectionsPerEndpoint",
    type: "integer",
    unit: "connections",
    min: 1,
    max: 65_535,
    meaning: "Connections to one endpoint.",
    reason: "undici has no limit by itself: 200 calls, 200 sockets.",
    nameElsewhere: "Envoy `per_host_thresholds.max_connections`",
  },
  {
    path: "limits.maxQueuedPerEndpoint",
    parsed: "limits.maxQueuedPerEndpoint",
    type: "integer",
    unit: "attempts",
    min: 1,
    max: 1_000_000,
    meaning: "Attempts that wait for a connection to one endpoint; one more is refused.",
    reason: "A queue that long is not worked off within `timeouts.queue`.",
    noEffectWhen: "`limits.maxInFlight` is below it",
    nameElsewhere: "Envoy `circuit_breakers.max_pending_requests`",
  },
  {
    path: "limits.maxEndpoints",
    parsed: "limits.maxEndpoints",
    type: "integer",
    unit: "endpoints",
    min: 1,
    max: 100_000,
    meaning: "Endpoints of one service that are kept.",
    reason: "A broken source must not fill the memory.",
  },
  {
    path: "limits.maxReplyHeaderBytes",
    parsed: "limits.maxReplyHeaderBytes",
    type: "integer",
    unit: "bytes",
    min: 1_024,
    max: 1_048_576,
    meaning: "Size of a reply's head.",
    reason: "Twice what Node allows by default; cookies grow.",
    nameElsewhere: "Envoy `max_response_headers_kb`",
  },
  {
    path: "limits.maxRequestHeaderBytes",
    parsed: "limits.maxRequestHeaderBytes",
    type: "integer",
    unit: "bytes",
    min: 1_024,
    max: 1_048_576,
    meaning: "Size of a request's target and headers; a larger one is refused before it is sent.",
    reason: "What Node's servers take by default.",
    nameElsewhere: "Envoy `max_request_headers_kb`, of what it receives",
  },
  {
    path: "limits.maxConnectionAge",
    parsed: "limits.maxConnectionAgeMs",
    type: "duration",
    min: SECOND,
    max: DAY,
    none: true,
    meaning:
      "Connections to an endpoint take no new calls after this long, ± 10 %, and end with their last.",
    reason: "Load follows what changes behind an address; gRPC's servers do the same.",
    nameElsewhere: "Envoy `max_connection_duration`, gRPC `grpc.max_connection_age_ms`",
  },
  {
    path: "idle",
    parsed: "idleMs",
    type: "duration",
    min: SECOND,
    max: DAY,
    none: true,
    meaning: "Watches and pools of a service that nobody called for this long are dropped.",
    reason: "Callers with a low rate keep their warm connections' addresses.",
    nameElsewhere: "gRPC `grpc.client_idle_timeout_ms`",
  },
  {
    path: "drainGrace",
    parsed: "drainGraceMs",
    type: "duration",
    min: 0,
    max: HOUR,
    meaning: "How long attempts on a removed endpoint, or at close, may still take.",
    reason: "What Kubernetes gives a pod to end.",
  },
  {
    path: "trustNacks",
    parsed: "trustNacks",
    type: "boolean",
    meaning: "Believe `x-mesh-nack` in replies. Only where every endpoint is known to run inmesh.",
    reason: "Whoever can set the header can make us send a POST again.",
  },
  {
    path: "tls.ca",
    parsed: "tls.ca",
    type: "pem",
    rangeText: "the path of a PEM file, or a PEM text with 1 to 100 certificates",
    defaultText: "the public roots",
    meaning:
      "The certificates that peers are believed by. A file is watched, and a rotation drops no call.",
    noEffectWhen: "`scheme` is `http`",
    nameElsewhere: "Envoy `validation_context.trusted_ca`",
  },
  {
    path: "tls.cert",
    parsed: "tls.cert",
    type: "pem",
    rangeText: "the path of a PEM file, or a PEM text with 1 to 5 certificates, ours first",
    defaultText: "none",
    meaning:
      "Our own certificate, shown to peers that ask for one. A file is watched; a pair is proven before it is used.",
    noEffectWhen: "`scheme` is `http`",
    nameElsewhere: "Envoy `tls_certificates.certificate_chain`",
  },
  {
    path: "tls.key",
    parsed: "tls.key",
    type: "pem",
    rangeText: "the path of a PEM file, or a PEM text; no passphrase",
    defaultText: "none",
    meaning: "The private key of `tls.cert`.",
    noEffectWhen: "`scheme` is `http`",
    nameElsewhere: "Envoy `tls_certificates.private_key`",
  },
  {
    path: "tls.serverName",
    parsed: "tls.serverName",
    type: "text",
    rangeText: "a DNS name",
    defaultText: "the host of `authority`",
    meaning: "The name in SNI, which a peer's certificate must be for.",
    noEffectWhen: "`scheme` is `http`",
    nameElsewhere: "Envoy `sni` and `match_typed_subject_alt_names`",
  },
  {
    path: "tls.minVersion",
    parsed: "tls.minVersion",
    type: "choice",
    choices: ["TLSv1.2", "TLSv1.3"],
    meaning: "The oldest version that is spoken.",
    reason: "Public services may not have 1.3 yet.",
    noEffectWhen: "`scheme` is `http`",
    nameElsewhere: "Envoy `tls_minimum_protocol_version`",
  },
  {
    path: "http2",
    parsed: "http2",
    type: "boolean",
    meaning:
      "HTTP/2 to the endpoints: agreed on in the TLS handshake, else HTTP/1.1; without TLS by prior knowledge (h2c). At most 4 connections to an endpoint then.",
    reason: "HTTP/1.1 costs half the CPU, and a lost connection loses one call, not a hundred.",
    nameElsewhere: "Envoy `http2_protocol_options`, Kubernetes `appProtocol: kubernetes.io/h2c`",
  },
];

/** Both modifiers have the same three lists. */
function modifierFields(
  key: string,
  meaning: string,
  nameElsewhere: string,
  noEffectWhen?: string,
): readonly Field[] {
  const path = `services.*.routes[].filters[].${key}`;
  const name: Omit<Field, "path"> = {
    type: "text",
    defaultText: "must be written",
    rangeText: "letters, digits, `-`, `_`, `.`; not reserved",
    meaning: "The header's name, in any case.",
  };
  const value: Omit<Field, "path"> = {
    type: "text",
    defaultText: "must be written",
    rangeText: "printable ASCII, no blank at either end",
    meaning: "Its value. Not shown in messages about mistakes.",
  };
  const list: Omit<Field, "path" | "meaning"> = {
    type: "list",
    defaultText: "none",
    rangeText: `at most ${LIMITS.headersPerList}`,
  };
  return [
    {
      path,
      type: "object",
      defaultText: "none",
      rangeText: `at least one change, at most ${LIMITS.modifierBytes} bytes of names and values, a name once`,
      meaning,
      nameElsewhere,
      ...(noEffectWhen !== undefined && { noEffectWhen }),
    },
    { path: `${path}.set`, ...list, meaning: "Headers that take the place of those of the name." },
    { path: `${path}.set[].name`, ...name },
    { path: `${path}.set[].value`, ...value },
    {
      path: `${path}.add`,
      ...list,
      meaning: "Headers that come behind those of the name, where it may stand more than once.",
    },
    { path: `${path}.add[].name`, ...name },
    { path: `${path}.add[].value`, ...value },
    { path: `${path}.remove`, ...list, meaning: "Names of headers that are taken out." },
  ];
}

/** What stands around the policies. */
export const STRUCTURE_FIELDS: readonly Field[] = [
  {
    path: "defaults",
    type: "object",
    defaultText: "all defaults",
    meaning: "Policies for every service, also for services no source names.",
  },
  {
    path: "services",
    type: "object",
    defaultText: "none",
    rangeText: `at most ${LIMITS.services}`,
    meaning: "The services by name: letters, digits, `-`, `_` and `.`, or host:port.",
    nameElsewhere: "Envoy `clusters`, Gateway API's `Service` as parent of a route",
  },
  {
    path: "services.*.url",
    type: "text",
    defaultText: "none",
    rangeText: "`http://` or `https://`, without path or user",
    meaning:
      "Gives scheme and authority, and DNS discovery when `discovery` is left out. An IP address is used as it is.",
    nameElsewhere: "gRPC's target",
  },
  {
    path: "services.*.scheme",
    type: "choice",
    choices: ["http", "https"],
    defaultText: "that of `url`, else `http`",
    meaning: "Whether the connections to the endpoints use TLS.",
    noEffectWhen: "`url` says the same",
    nameElsewhere: "Envoy `transport_socket`",
  },
  {
    path: "services.*.authority",
    type: "text",
    defaultText: "that of `url`, else from `discovery`, else the service's name",
    rangeText: "host, or host:port",
    meaning: "What stands in Host and in the TLS server name.",
    nameElsewhere: "gRPC `grpc.default_authority`, Envoy `host_rewrite_literal`",
  },
  {
    path: "services.*.discovery",
    type: "object",
    defaultText: "DNS of `url`",
    rangeText: "one of `dns`, `srv`, `static`, `file`",
    meaning: "Where the endpoints come from.",
  },
  {
    path: "services.*.discovery.dns",
    type: "text",
    defaultText: "the host of `url`",
    rangeText: "a DNS name",
    meaning: "Every A and AAAA record is an endpoint.",
    nameElsewhere: "Envoy `STRICT_DNS`, gRPC `dns:///`",
  },
  {
    path: "services.*.discovery.port",
    type: "integer",
    min: 1,
    max: 65_535,
    defaultText: "the port of `url`",
    meaning: "Port of the endpoints that DNS names.",
    noEffectWhen: "`discovery.dns` is not written (it is a mistake then)",
  },
  {
    path: "services.*.discovery.srv",
    type: "text",
    defaultText: "none",
    rangeText: "`_service._protocol.name`",
    meaning: "Addresses, ports, priorities and weights from SRV records.",
  },
  {
    path: "services.*.discovery.file",
    type: "text",
    defaultText: "none",
    rangeText: "path of a `.yaml` or `.json` file, from the process's working directory",
    meaning:
      "A file with a list as under `static`, followed while the service is in use. While it is wrong or missing the last good list stays; an empty list is believed after 30 s.",
    nameElsewhere: "Envoy's EDS from a file (`path_config_source`)",
  },
  {
    path: "services.*.discovery.static",
    type: "list",
    defaultText: "none",
    rangeText: "`host:port`, `unix:/path` or an object, at least one",
    meaning: "A fixed list of endpoints.",
    nameElsewhere: "Envoy `STATIC` and `load_assignment`",
  },
  {
    path: "services.*.discovery.static[].host",
    type: "text",
    defaultText: "must be written",
    rangeText: "a DNS name, an IP address, or `unix:` and an absolute path",
    meaning: "Where the endpoint is.",
  },
  {
    path: "services.*.discovery.static[].port",
    type: "integer",
    min: 1,
    max: 65_535,
    defaultText: "must be written, except for a socket with a path",
    meaning: "Its port.",
  },
  {
    path: "services.*.discovery.static[].weight",
    type: "number",
    min: 0,
    max: LIMITS.weight,
    defaultText: "1",
    meaning: "Relative share of calls. 0 beside others: only if nothing else is available.",
    nameElsewhere: "Envoy `load_balancing_weight`",
  },
  {
    path: "services.*.discovery.static[].zone",
    type: "text",
    defaultText: "none",
    meaning: "Where it stands, for zone-aware balancing.",
    nameElsewhere: "Envoy `locality.zone`",
  },
  {
    path: "services.*.discovery.static[].uid",
    type: "text",
    defaultText: "none",
    meaning: "Identity besides the address: a recycled address starts afresh.",
  },
  {
    path: "services.*.discovery.static[].metadata",
    type: "object",
    defaultText: "none",
    rangeText: "texts by name",
    meaning: "Free labels; they never leave the process.",
  },
  {
    path: "services.*.routes",
    type: "list",
    defaultText: "none",
    rangeText: `at most ${LIMITS.routesPerService}`,
    meaning: "Rules for some of the calls; a call that matches none takes the service's policies.",
    nameElsewhere: "Gateway API `HTTPRoute.rules`",
  },
  {
    path: "services.*.routes[].name",
    type: "text",
    defaultText: "`route-1`, `route-2`, …",
    rangeText: "unique, at most 100 characters",
    meaning: "Names the route in metrics and errors.",
  },
  {
    path: "services.*.routes[].matches",
    type: "list",
    defaultText: "everything",
    rangeText: `at most ${LIMITS.matchesPerRoute}`,
    meaning: "Any of them must hold; within one, all conditions.",
    nameElsewhere: "Gateway API `matches`",
  },
  {
    path: "services.*.routes[].matches[].method",
    type: "text",
    defaultText: "any",
    rangeText: "capital letters, or the object below",
    meaning: "As a text, the HTTP method. As an object, the gRPC service and method.",
    nameElsewhere: "Gateway API `method` of HTTPRoute, and of GRPCRoute",
  },
  {
    path: "services.*.routes[].matches[].method.service",
    type: "text",
    defaultText: "any",
    rangeText: "a full name, such as `shop.Orders`, unless an expression",
    meaning:
      "The gRPC service. Service and method are another way to write `path`, which must not stand beside them: `/service/method`, or the prefix `/service`.",
  },
  {
    path: "services.*.routes[].matches[].method.method",
    type: "text",
    defaultText: "any",
    rangeText: "a name, such as `Get`, unless an expression",
    meaning: "The gRPC method. One of the two must be written.",
  },
  {
    path: "services.*.routes[].matches[].method.type",
    type: "choice",
    choices: ["Exact", "RegularExpression"],
    defaultText: "`Exact`",
    meaning: "How both are compared. An expression must match from the start to the end.",
  },
  {
    path: "services.*.routes[].matches[].path",
    type: "object",
    defaultText: "any",
    meaning: "The path, without the query.",
  },
  {
    path: "services.*.routes[].matches[].path.type",
    type: "choice",
    choices: ["Exact", "PathPrefix", "RegularExpression"],
    defaultText: "`PathPrefix`",
    meaning:
      "How the value is compared. A prefix ends at a `/`; an expression must match from the start to the end.",
  },
  {
    path: "services.*.routes[].matches[].path.value",
    type: "text",
    defaultText: "must be written",
    rangeText: "starts with `/` unless an expression",
    meaning: "The path to compare with.",
  },
  {
    path: "services.*.routes[].matches[].headers",
    type: "list",
    defaultText: "any",
    rangeText: `at most ${LIMITS.conditionsPerMatch}`,
    meaning: "Conditions on request headers.",
  },
  {
    path: "services.*.routes[].matches[].headers[].type",
    type: "choice",
    choices: ["Exact", "RegularExpression"],
    defaultText: "`Exact`",
    meaning: "How the value is compared.",
  },
  {
    path: "services.*.routes[].matches[].headers[].name",
    type: "text",
    defaultText: "must be written",
    meaning: "The header's name, in any case.",
  },
  {
    path: "services.*.routes[].matches[].headers[].value",
    type: "text",
    defaultText: "must be written",
    meaning: "The value to compare with.",
  },
  {
    path: "services.*.routes[].matches[].queryParams",
    type: "list",
    defaultText: "any",
    rangeText: `at most ${LIMITS.conditionsPerMatch}`,
    meaning: "Conditions on query parameters.",
  },
  {
    path: "services.*.routes[].matches[].queryParams[].type",
    type: "choice",
    choices: ["Exact", "RegularExpression"],
    defaultText: "`Exact`",
    meaning: "How the value is compared.",
  },
  {
    path: "services.*.routes[].matches[].queryParams[].name",
    type: "text",
    defaultText: "must be written",
    meaning: "The parameter's name; case matters.",
  },
  {
    path: "services.*.routes[].matches[].queryParams[].value",
    type: "text",
    defaultText: "must be written",
    meaning: "The value to compare with.",
  },
  {
    path: "services.*.routes[].idempotent",
    type: "boolean",
    defaultText: "`false`",
    meaning: "The route's calls may be sent twice, whatever their method.",
    noEffectWhen: "`retry.attempts` is 1",
  },
  {
    path: "services.*.routes[].streaming",
    type: "boolean",
    defaultText: "`false`",
    meaning:
      "Replies stream for long: latency is the time to the head, and no inherited deadline applies.",
  },
  {
    path: "services.*.routes[].overloadedMeansUnprocessed",
    type: "boolean",
    defaultText: "`false`",
    meaning:
      "A reply that says it is overloaded proves that nothing was processed, so that any call may be sent again.",
  },
  {
    path: "services.*.routes[].filters",
    type: "list",
    defaultText: "none",
    rangeText: "at most one of each",
    meaning:
      "What the route changes in the heads of its calls and of their replies. Routes match what the caller sent; each attempt of a call sends the same, changed once.",
    nameElsewhere: "Gateway API `filters`",
  },
  {
    path: "services.*.routes[].filters[].type",
    type: "choice",
    choices: ["RequestHeaderModifier", "ResponseHeaderModifier"],
    defaultText: "that of the key beside it",
    meaning: "Says once more which of the two it is, as Gateway API does.",
  },
  ...modifierFields(
    "requestHeaderModifier",
    "Changes the headers of a request, or the metadata of a gRPC call, before it is sent.",
    "Gateway API `requestHeaderModifier`, Envoy `request_headers_to_add` and `…_to_remove`",
  ),
  ...modifierFields(
    "responseHeaderModifier",
    "Changes the headers of a reply, or the leading metadata of a gRPC reply, before the application sees it; the mesh itself reads what was received.",
    "Gateway API `responseHeaderModifier`, Envoy `response_headers_to_add` and `…_to_remove`",
    "the reply is interim (1xx) or an upgrade; trailers, and so a gRPC reply that has nothing else, stay",
  ),
  {
    path: "services.*.routes[].backendRefs",
    type: "list",
    defaultText: "the service itself",
    rangeText: `at most ${LIMITS.backendRefsPerRoute}, weights not all 0`,
    meaning: "Weighted destinations.",
    nameElsewhere: "Gateway API `backendRefs`, Envoy `weighted_clusters`",
  },
  {
    path: "services.*.routes[].backendRefs[].name",
    type: "text",
    defaultText: "must be written",
    rangeText: "a service of this configuration",
    meaning: "The destination.",
  },
  {
    path: "services.*.routes[].backendRefs[].weight",
    type: "number",
    min: 0,
    max: LIMITS.weight,
    defaultText: "1",
    meaning: "Its share of the calls.",
  },
];

export const FIELDS: readonly Field[] = [...POLICY_FIELDS, ...STRUCTURE_FIELDS];

/** Its last name: `request` of `timeouts.request`. */
export function nameOf(field: Field): string {
  return field.path.slice(field.path.lastIndexOf(".") + 1);
}

/** The object it stands in: `timeouts`, or nothing for `idle`. */
export function groupOf(field: Field): string | undefined {
  const dot = field.path.indexOf(".");
  return dot < 0 ? undefined : field.path.slice(0, dot);
}

/** Names with milliseconds under them: `requestMs`, and `backoffBaseMs` as in the parsed shape. */
export function millisecondNames(field: Field): readonly string[] {
  if (field.type !== "duration" || field.parsed === undefined) return [];
  const inParsed = field.parsed.slice(field.parsed.lastIndexOf(".") + 1);
  return [...new Set([`${nameOf(field)}Ms`, inParsed])];
}

/** What a policy is when nobody writes it. */
export function defaultOf(field: Field): unknown {
  let value: unknown = DEFAULT_POLICIES;
  for (const part of (field.parsed ?? "").split(".")) {
    value = typeof value === "object" && value !== null ? Reflect.get(value, part) : undefined;
  }
  return value;
}

/** `from 1ms to 24h, or none`. */
export function rangeOf(field: Field): string {
  if (field.rangeText !== undefined) return field.rangeText;
  if (field.choices !== undefined) return field.choices.map((choice) => `\`${choice}\``).join(", ");
  if (field.type === "boolean") return "`true`, `false`";
  if (field.min === undefined || field.max === undefined) return "";
  const show = (value: number): string =>
    field.type === "duration" ? formatDuration(value) : `${value}`;
  return `${show(field.min)} to ${show(field.max)}${field.none === true ? ", or `none`" : ""}`;
}
