/**
 * What a valid configuration looks like once it is parsed: plain frozen data, every field present,
 * numbers with their unit in the name. `parse.ts` makes it, `compile.ts` turns it into running parts.
 */
import type { EndpointInfo } from "../endpoint-info.ts";

export interface MeshConfig {
  /** By name. Has no prototype, so that a lookup of `constructor` finds nothing. */
  readonly services: Readonly<Record<string, ServiceConfig>>;
  /** Applied when a service is asked for that no source names, see `defaultServiceConfig`. */
  readonly defaults: ServicePolicies;
}

export type DiscoveryConfig =
  | { readonly kind: "static"; readonly endpoints: readonly EndpointInfo[] }
  /** A and AAAA records of `host`. */
  | { readonly kind: "dns"; readonly host: string; readonly port: number }
  /** SRV records, for example `_http._tcp.orders.shop.svc.cluster.local`. */
  | { readonly kind: "srv"; readonly name: string }
  /** A list in a YAML or JSON file, which is followed. */
  | { readonly kind: "file"; readonly path: string };

/** All policies of a service; what a route leaves out it takes from here. */
export interface ServicePolicies {
  readonly timeouts: TimeoutConfig;
  readonly retry: RetryConfig;
  readonly retryBudget: RetryBudgetConfig;
  readonly balancer: BalancerConfig;
  readonly breaker: BreakerConfig;
  readonly limits: LimitConfig;
  /** Watches and pools of a service that nobody called for this long are dropped. */
  readonly idleMs: number;
  /** How long attempts on a removed endpoint, or at close, may still take. */
  readonly drainGraceMs: number;
  /**
   * Believe `x-mesh-nack` in replies. Only where every endpoint is known to be an inmesh peer:
   * whoever can set the header can make us send a POST again.
   */
  readonly trustNacks: boolean;
  /**
   * The service is one of ours: `x-mesh-*` headers and the trace of the request being served go to it.
   * False for what only an `https:` URL in code describes.
   */
  readonly peer: boolean;
  readonly tls: TlsConfig;
  /** HTTP/2 to the endpoints: by ALPN with HTTP/1.1 as fallback, or as h2c where `scheme` is http. */
  readonly http2: boolean;
}

export interface ServiceConfig extends ServicePolicies {
  readonly name: string;
  readonly discovery: DiscoveryConfig;
  readonly scheme: "http" | "https";
  /** The authority put into Host and SNI, `orders` or `orders.shop.svc:8080`. */
  readonly authority: string;
  readonly routes: readonly RouteConfig[];
}

export interface TimeoutConfig {
  /** The whole call: queue, connect, attempts, pauses and body. Infinity: none. */
  readonly requestMs: number;
  /** What a call may ask for beyond `requestMs`; no effect when it is not above it. */
  readonly maxRequestMs: number;
  /** One attempt, until the head of its reply. Infinity: only the call's deadline counts. */
  readonly backendRequestMs: number;
  /** TCP connect plus TLS handshake, and with HTTP/2 until the peer's settings are here. */
  readonly connectMs: number;
  /** An attempt waits this long for a free connection. Infinity: as long as its deadline allows. */
  readonly queueMs: number;
  /** No byte of a reply body for this long ends it. Infinity: none. */
  readonly bodyIdleMs: number;
}

/** How `https` services are reached. Each of the first three: the path of a PEM file, or a PEM text. */
export interface TlsConfig {
  /** `files`: the three below. Else the name of a source of `createMesh({ identities })`, in their place. */
  readonly identity: string;
  /** The certificates that peers are believed by; undefined: the public roots. */
  readonly ca: string | undefined;
  /** Our own certificate, with the chain behind it; undefined: we show none. */
  readonly cert: string | undefined;
  readonly key: string | undefined;
  /** The name in SNI, which a peer's certificate must be for; undefined: the host of `authority`. */
  readonly serverName: string | undefined;
  readonly minVersion: "TLSv1.2" | "TLSv1.3";
}

export interface RetryConfig {
  /** Attempts of a call, the first included. 1: no policy retries (R0 re-sends stay on). */
  readonly attempts: number;
  /** Reply statuses that are retried, if the call is idempotent and replayable. */
  readonly codes: readonly number[];
  readonly backoffBaseMs: number;
  readonly backoffMaxMs: number;
}

export interface RetryBudgetConfig {
  /** Retries paid for by each call. */
  readonly ratio: number;
  /** Retries per second that need no calls to pay for them. Per process and service. */
  readonly minPerSecond: number;
  readonly windowMs: number;
}

export interface BalancerConfig {
  readonly kind: "peak-ewma" | "least-request" | "round-robin" | "random";
  /** Decay time of the latency estimate toward the peers. */
  readonly decayMs: number;
  /** Estimate of an endpoint nobody has data about. */
  readonly seedMs: number;
  /** A failure costs this many times the peers' median. */
  readonly penaltyFactor: number;
  readonly callerFaultFactor: number;
  readonly penaltyDecayMs: number;
  readonly penaltyMaxMs: number;
  /** A new endpoint reaches its full share after this long. 0: at once. */
  readonly slowStartMs: number;
}

export interface BreakerConfig {
  /** Failures in a row that open the breaker. 0: the rule is off. */
  readonly consecutiveFailures: number;
  /** Two failures in a row this far apart open it too (sparse callers). 0: off. */
  readonly failureSpanMs: number;
  /** The breaker opens below this share of successes in the window… 0: off. */
  readonly successRatio: number;
  /** …if the endpoint is also this much worse than its peers. */
  readonly peerMargin: number;
  readonly windowMs: number;
  readonly minRequests: number;
  readonly minOpenMs: number;
  readonly maxOpenMs: number;
  /** Share of the endpoints that verdicts on failures may take out; above it: panic. */
  readonly maxEjectedRatio: number;
}

export interface LimitConfig {
  /** Calls of the service in progress, queued ones included. */
  readonly maxInFlight: number;
  readonly maxConnectionsPerEndpoint: number;
  /** Attempts that wait for a connection to one endpoint. */
  readonly maxQueuedPerEndpoint: number;
  readonly maxEndpoints: number;
  readonly maxReplyHeaderBytes: number;
  readonly maxRequestHeaderBytes: number;
  /** Connections take no new calls after this long, ± 10 %, and end with their last. Infinity: never. */
  readonly maxConnectionAgeMs: number;
}

export interface RouteConfig {
  readonly name: string;
  /** Any of them; none at all matches everything. */
  readonly matches: readonly RouteMatchConfig[];
  readonly timeouts: Pick<TimeoutConfig, "requestMs" | "maxRequestMs" | "backendRequestMs">;
  readonly retry: RetryConfig;
  /** The route vouches that its calls may be sent twice, whatever their method. */
  readonly idempotent: boolean;
  /** A reply that says `overloaded` proves that nothing was processed. */
  readonly overloadedMeansUnprocessed: boolean;
  /** Replies stream for long: latency is the time to the head, and no default deadline applies. */
  readonly streaming: boolean;
  /** Changes of heads: at most one of requests and one of replies. */
  readonly filters: readonly RouteFilterConfig[];
  /** Weighted destinations; empty: the service itself. */
  readonly backendRefs: readonly BackendRefConfig[];
}

/** One of the two (Gateway API HTTPRouteFilter). */
export interface RouteFilterConfig {
  readonly requestHeaderModifier?: HeaderModifierConfig;
  readonly responseHeaderModifier?: HeaderModifierConfig;
}

/** Names in lower case, each once in a list; header-changes.ts has the order of the lists. */
export interface HeaderModifierConfig {
  /** Takes the place of every value that the name has. */
  readonly set: readonly HeaderConfig[];
  /** Comes behind the values that the name has. */
  readonly add: readonly HeaderConfig[];
  readonly remove: readonly string[];
}

export interface HeaderConfig {
  readonly name: string;
  readonly value: string;
}

export interface BackendRefConfig {
  readonly name: string;
  readonly weight: number;
}

/** All given conditions must hold (Gateway API HTTPRouteMatch). */
export interface RouteMatchConfig {
  readonly method?: string;
  readonly path?: {
    readonly type: "Exact" | "PathPrefix" | "RegularExpression";
    readonly value: string;
  };
  readonly headers?: readonly ValueMatchConfig[];
  readonly queryParams?: readonly ValueMatchConfig[];
}

export interface ValueMatchConfig {
  readonly type: "Exact" | "RegularExpression";
  readonly name: string;
  readonly value: string;
}
