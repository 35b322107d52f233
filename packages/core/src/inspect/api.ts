/**
 * What the API of one process answers, as JSON: the contract of `mesh.admin.listen()` with the command line, the
 * dashboard and the control plane. docs/reference/admin-api.md and docs/reference/admin-api.schema.json are made
 * of this file by scripts/write-admin-reference.ts, so every interface here is an object of the schema, and a field
 * whose type has `undefined` is left out of the JSON where there is no value. It holds types and the version alone.
 *
 * Within one `apiVersion` fields are added, and none is removed or gets another meaning: readers ignore what they do
 * not know. Lists that are called closed get further values only with a new version.
 *
 * Times are milliseconds, and say so in their names. `…AtWallMs` are instants of the wall clock since 1970; ages and
 * lengths come from the monotonic clock. Texts that came from elsewhere (names of services, paths, messages) may hold
 * any character: JSON escapes control characters, and who prints them has to do so again.
 */

/** Goes up when a field is removed or gets another meaning. */
export const API_VERSION = "inmesh.dev/v1";

/** What every answer begins with. */
export interface Answer {
  /** Version of the shape of all answers. */
  readonly apiVersion: "inmesh.dev/v1";
  /** Which of the answers below it is. */
  readonly kind: string;
  /**
   * Random text of this mesh, the same until the process ends. Where it differs between two readings the process has
   * been restarted, and counters have begun at 0 again.
   */
  readonly instance: string;
  /** When the answer was made. */
  readonly readAtWallMs: number;
  /**
   * Since the mesh was made, by the monotonic clock: the difference between two readings of one `instance` is the
   * length of the window between them, for rates.
   */
  readonly uptimeMs: number;
}

/** Every failure, with an HTTP status from 400 up. It says nothing else of the process. */
export interface Failure {
  /** Version of the shape of all answers. */
  readonly apiVersion: "inmesh.dev/v1";
  /** It is a failure. */
  readonly kind: "Error";
  /** Stable, for programs. */
  readonly code: FailureCode;
  /** What happened, for people. */
  readonly message: string;
  /** What to do. */
  readonly hint: string;
}

export type FailureCode =
  | "token_missing"
  | "token_wrong"
  | "host_refused"
  | "origin_refused"
  | "not_found"
  | "method_not_allowed"
  | "bad_request"
  | "body_too_large"
  | "not_json"
  | "unknown_service"
  | "bad_filter"
  | "too_many_readers"
  | "not_available"
  | "failed";

// ── GET /api/v1/about ──────────────────────────────────────────────────────────────────────────

/** Which process this is, and what the reader may ask it. */
export interface About extends Answer {
  readonly kind: "About";
  /** `process`: about one process alone. A control plane says `mesh`. */
  readonly scope: "process" | "mesh";
  readonly versions: {
    /** Of inmesh. */
    readonly inmesh: string;
    /** Of Node or what stands in for it, such as `v24.21.0`. */
    readonly runtime: string;
  };
  readonly process: {
    /** Number of the process. */
    readonly pid: number;
    /** Name of the machine or container. */
    readonly host: string;
    /** `linux x64`. */
    readonly platform: string;
    /** Since the process began; `uptimeMs` is that of the mesh. */
    readonly uptimeMs: number;
    /** Memory that the process has of the machine. */
    readonly rssBytes: number;
    /** Of JavaScript's heap, in use. */
    readonly heapUsedBytes: number;
  };
  /** Of the mesh: `closing` while `mesh.close` waits for calls in progress. */
  readonly state: "open" | "closing" | "closed";
  /** `/readyz` says the same: whether requests should come to this process, and why not. */
  readonly ready: Readiness;
  /** Of the configuration in force. */
  readonly configVersion: number;
  /** Why this version of Node is not one to run on. */
  readonly runtimeProblem: string | undefined;
  /** What works less well because a private member of Node or of a library is not where it was: one line for each. */
  readonly degraded: readonly string[];
  /** Paths of this API that the token may read. Pages without data are not to be offered. */
  readonly resources: readonly string[];
  /** What the token may do: `read`, `tap` and `log-level`. */
  readonly may: readonly string[];
  /**
   * Of several processes that are shown as one, such as those of `mesh-proxy --workers`: `process` is the one that started
   * them, with the memory of all. Undefined: there is one alone.
   */
  readonly workers?: readonly WorkerView[] | undefined;
}

/** One of several processes that are shown as one. */
export interface WorkerView {
  /** From 1. It stays when another process takes its place. */
  readonly number: number;
  /** Of its process; undefined: there is none now. */
  readonly pid: number | undefined;
  /**
   * `starting`: it does not serve yet; `silent`: it serves, and has not answered in time; `ended`: unasked, and another
   * one is to start.
   */
  readonly state: "starting" | "serving" | "silent" | "ended";
  /** Times that another process has started in its place. */
  readonly restarts: number;
  /** Until the next one starts; undefined: it runs. */
  readonly restartsInMs: number | undefined;
}

/** Whether requests should come to this process. */
export interface Readiness {
  /** True while nothing stands against it. */
  readonly ready: boolean;
  /** One for each thing that stands against it. Empty when ready. */
  readonly reasons: readonly ReadinessReason[];
}

/** One thing that stands against it. */
export interface ReadinessReason {
  /** The server that says so; undefined: the mesh itself. */
  readonly server: string | undefined;
  /**
   * `draining`, `closing`, `closed`, `overloaded`, `certificate expired`, `not ready`, `not listening`; of workers also
   * `starting` and `no answer`.
   */
  readonly reason: string;
}

// ── GET /api/v1/services[?service=<name>] ──────────────────────────────────────────────────────

/** Services that this process calls, and servers that it runs, with what was counted since the mesh was made. */
export interface Services extends Answer {
  readonly kind: "Services";
  /**
   * False: `createMesh({ telemetry })` takes all measurements, or `false` switched them off, so there are none here:
   * `traffic` is left out everywhere.
   */
  readonly measured: boolean;
  /** Of the histograms below: upper limits in seconds. Counts have one entry more, for what is above the last. */
  readonly latencyBoundsSeconds: readonly number[];
  /** By name. One that has not been called by a client of a protocol is not in the list. */
  readonly services: readonly ServiceView[];
  /** Servers that were made with `{ mesh }`; none where a service was asked for. */
  readonly servers: readonly ServerView[];
}

/** A service, as the clients of one protocol call it. */
export interface ServiceView {
  /** Its name, or the authority of the URL that a client was opened with. */
  readonly name: string;
  /** `http` or `grpc`: a service that both call stands here twice. */
  readonly protocol: string;
  /** `asleep`: no call for `idle`, nothing is watched; `unreachable`: no endpoint that may be picked. */
  readonly state: "asleep" | "pending" | "connected" | "unconnected" | "unreachable" | "closed";
  /** What somebody should look at, one sentence each, the worst first: `1 of 3 endpoints has an open breaker`. Often empty. */
  readonly notes: readonly string[];
  /** Of all services that its routes send to. */
  readonly endpoints: EndpointCounts;
  /** Of all services that its routes send to. */
  readonly connections: ConnectionCounts;
  /** `https`: all attempts of it are encrypted. */
  readonly scheme: "http" | "https";
  /** Calls in progress. */
  readonly callsInFlight: number;
  /** Calls that may be in progress at most (`limits.maxInFlight`). */
  readonly maxInFlight: number;
  /** Verdicts on failures are ignored because there are too many of them. */
  readonly panic: boolean;
  /** Where its own endpoints come from. */
  readonly discovery: DiscoverySummary;
  /** How much of the calls to its own endpoints goes to which zone. */
  readonly zones: ZonesView;
  /** How many retries its traffic has paid for. */
  readonly retryBudget: RetryBudgetView;
  /** Of all routes together. */
  readonly traffic: Traffic | undefined;
  /** In the order of the configuration; `default` is the last. */
  readonly routes: readonly RouteView[];
}

/** How much goes to which zone. */
export interface ZonesView {
  /**
   * `all`: all zones alike; `local`: all calls stay in the zone of this process; `spill`: what is too much for it goes
   * to others; `hints`: the source says which endpoints are meant for it.
   */
  readonly mode: "all" | "local" | "spill" | "hints";
  /** In words: `the zone a has its share of the endpoints`. */
  readonly why: string;
  /** The zone of this process first; empty with `all`. */
  readonly shares: readonly ZoneShareView[];
}

/** What one zone gets. */
export interface ZoneShareView {
  /** Empty: the zone is not known, or, with `hints`, all other zones together. */
  readonly zone: string;
  /** Those whose breaker is closed, without the draining ones and those of weight 0. */
  readonly endpoints: number;
  /** Of the first attempts of this process, from 0 to 1. */
  readonly share: number;
}

/** A route, with what it carried. */
export interface RouteView {
  /** Its name in the configuration, or `default`. */
  readonly name: string;
  /** Where it sends, with the share that its weights want. One entry with share 1: the service itself. */
  readonly backends: readonly BackendShare[];
  /** Left out where the service has none. */
  readonly traffic: Traffic | undefined;
}

/** One destination of a route. */
export interface BackendShare {
  /** Name of a service. */
  readonly backend: string;
  /** As the configuration says. */
  readonly weight: number;
  /** Of the sum of the weights, from 0 to 1. */
  readonly share: number;
}

/** Endpoints by state. */
export interface EndpointCounts {
  /** All that discovery names, at most `limits.maxEndpoints`. */
  readonly total: number;
  /** May be picked now: neither out nor draining. Those with weight 0 count, as they are picked where no other is. */
  readonly available: number;
  /** Breaker `open` after failures. */
  readonly open: number;
  /** Breaker `open` because they accept no connection. */
  readonly refusing: number;
  /** One call may try them. */
  readonly halfOpen: number;
  /** Discovery says that they are about to go. */
  readonly draining: number;
}

/** Connections to endpoints. */
export interface ConnectionCounts {
  /** Established now; undefined: a protocol does not say. */
  readonly open: number | undefined;
  /** Why new certificates are not used; the last good ones are. */
  readonly problem: string | undefined;
}

/** A source of endpoints, in short. */
export interface DiscoverySummary {
  /** `static`, `file`, `dns`, or the name that a discovery of the application gave itself. */
  readonly source: string;
  /**
   * `pending`: no answer yet; `stale`: it cannot tell, and the last good endpoints stay in use; `idle`: no call
   * was made for a while, so nothing is watched.
   */
  readonly state: "pending" | "current" | "stale" | "idle";
  /** Why it is stale. */
  readonly error: string | undefined;
}

/** A retry budget. */
export interface RetryBudgetView {
  /** Retries that it would pay for now. */
  readonly balance: number;
  /** Retries that it did not pay for, since the service was configured so. */
  readonly refused: number;
  /** Retries that it has paid for, since then. */
  readonly withdrawn: number;
}

/**
 * What was counted since the mesh was made. Two readings of one `instance` give what happened between them, by
 * subtraction; `inmesh/inspect` has functions for that, and for quantiles.
 */
export interface Traffic {
  /** As the application saw them: one for each request, however many attempts it took. */
  readonly calls: OutcomeCounts;
  /** From the start of a call to the last byte of its reply, of all outcomes. */
  readonly callLatency: LatencyHistogram;
  /** As the endpoints saw them. `total` divided by that of `calls` is the load that retries add. */
  readonly attempts: OutcomeCounts;
  /** From the pick of an endpoint to the last byte of its reply. */
  readonly attemptLatency: LatencyHistogram;
  /** Attempts by why they were made. */
  readonly attemptKinds: AttemptKinds;
  /**
   * How often a further attempt was possible, by what was decided: `sent`, or what stood against it (`budget`,
   * `deadline`, `attempts`, `not_replayable`, `not_idempotent`, `layer`). What never happened is left out.
   */
  readonly retryDecisions: Readonly<Record<string, number>>;
  /** Failed calls by the reason of their error, as in docs/reference/errors.md. What never happened is left out. */
  readonly callReasons: Readonly<Record<string, number>>;
  /** The same of attempts: why they were not enough. */
  readonly attemptReasons: Readonly<Record<string, number>>;
  /** Calls by class of what was replied: `2xx`, `5xx`, `none` without a reply. */
  readonly callStatuses: Readonly<Record<string, number>>;
}

/**
 * The success rate is `success / (total - abandoned)`: who gives a call up has not found that the service fails.
 * A reply that blames the caller (4xx) is a success of the service.
 */
export interface OutcomeCounts {
  /** Of all outcomes. */
  readonly total: number;
  /** The other side did its job. */
  readonly success: number;
  /** It is at fault, or could not be reached. */
  readonly failure: number;
  /** Time was over. */
  readonly timeout: number;
  /** Refused for load, by the other side or by this one. */
  readonly overloaded: number;
  /** Given up by the caller, or not chosen. */
  readonly abandoned: number;
}

/** Attempts by why they were made. */
export interface AttemptKinds {
  /** The first of its call. */
  readonly first: number;
  /** May have been processed before. */
  readonly retry: number;
  /** Certainly was not processed before. */
  readonly resend: number;
  /** Beside another one of the same call. */
  readonly hedge: number;
}

/** A Prometheus-like histogram, with counts of each bucket by itself (they are not cumulative). */
export interface LatencyHistogram {
  /** How many values there are. */
  readonly count: number;
  /** Of all values. */
  readonly sumSeconds: number;
  /** One for each of `latencyBoundsSeconds`, and one for what is above the last. */
  readonly counts: readonly number[];
  /**
   * Since the mesh was made, interpolated within a bucket; undefined without a value. For a window of time
   * subtract `counts` instead.
   */
  readonly p50Ms: number | undefined;
  /** The same. */
  readonly p95Ms: number | undefined;
  /** The same. */
  readonly p99Ms: number | undefined;
}

/** A server of this process (`meshServer`, `meshGrpcServer`) that was made with `{ mesh }`. */
export interface ServerView {
  /** Its `name`. */
  readonly name: string;
  /** `http` or `grpc`. */
  readonly protocol: string;
  /** `draining`: it is not ready, and goes on serving; `closing`: no new connections. */
  readonly state: "open" | "draining" | "closing" | "closed";
  /** `ok`, or why requests should not come here. */
  readonly readiness: string;
  /** Who is trusted, and with what: docs/reference/headers.md. */
  readonly posture: string;
  /** Requests whose handlers run. */
  readonly requestsInFlight: number;
  /** Connections that are open; undefined: a protocol does not say. */
  readonly connections: number | undefined;
  /** What was not given to the handler or was cut short, and connections closed, by reason. */
  readonly refused: Readonly<Record<string, number>>;
  /** What the configuration says by now and the server does not do before it is made anew. */
  readonly pending: readonly string[];
  /** Why what the certificate files or the identity source say is not used. */
  readonly problem: string | undefined;
  /** Requests that it was asked for. */
  readonly calls: OutcomeCounts | undefined;
  /** From a request's arrival to the end of its reply. */
  readonly latency: LatencyHistogram | undefined;
}

// ── GET /api/v1/endpoints[?service=<name>] ─────────────────────────────────────────────────────

/** Every endpoint of every service, flat. */
export interface Endpoints extends Answer {
  readonly kind: "Endpoints";
  /** By service, in the order in which discovery named them. */
  readonly endpoints: readonly EndpointView[];
}

/** An endpoint, as the clients of one protocol use it. */
export interface EndpointView {
  /** The service whose endpoint it is. A route of another service may send to it as well. */
  readonly service: string;
  /** `http` or `grpc`. */
  readonly protocol: string;
  /** `host:port`, with brackets around IPv6, or `unix:path`. */
  readonly address: string;
  /** Without brackets; `unix:path` of a socket. */
  readonly host: string;
  /** 0 of a socket with a path. */
  readonly port: number;
  /** As discovery says. */
  readonly zone: string | undefined;
  /** As discovery says; 1 where it does not. */
  readonly weight: number;
  /** Closed list. Why it is so stands in `why`. */
  readonly state: EndpointState;
  /** `open since 4s: 7 failures in a row; next probe in 3s`. Undefined: `available`, and nothing to say. */
  readonly why: string | undefined;
  /** Whether it is kept from calls, and why. */
  readonly breaker: BreakerView;
  /** What the picker compares, in milliseconds times attempts in flight. */
  readonly cost: number;
  /** Attempts whose last byte has not been read. */
  readonly inFlight: number;
  /** Attempts that it was picked for since it is known: by two readings the share that it gets. */
  readonly picks: number;
  /** Of all picks of the endpoints of this service that are listed, since they are known, from 0 to 1. */
  readonly share: number;
  /** The estimate by which it is compared. */
  readonly latencyMs: number;
  /** Added to the estimate because of failures. */
  readonly penaltyMs: number;
  /** It asked to be spared for this long (429, Retry-After). */
  readonly busyForMs: number;
  /** Slow start: its share of what it will get, from 0.1 to 1. */
  readonly rampRatio: number;
  /** Since discovery first named it. */
  readonly ageMs: number;
  /** Connections that are open; undefined: its protocol does not say. */
  readonly connections: number | undefined;
}

/**
 * `connecting`: attempts wait for its first connection; `busy`: asked to be spared; `half-open`: one call may try it;
 * `open`: out after failures; `refusing`: out because it accepts no connection; `draining`: about to go; `spare`:
 * weight 0, picked where no other is.
 */
export type EndpointState =
  | "available"
  | "connecting"
  | "busy"
  | "half-open"
  | "open"
  | "refusing"
  | "draining"
  | "spare";

/** The breaker of an endpoint. */
export interface BreakerView {
  /** `closed` lets calls through, `open` blocks, `half-open` probes. */
  readonly state: "closed" | "open" | "half-open";
  /** What opened it: failures in a row, their ratio, no connection, a failed probe. */
  readonly trigger: "streak" | "ratio" | "connect" | "probe" | undefined;
  /** Since its state changed last; undefined: it never did. */
  readonly changedAgoMs: number | undefined;
  /** Until the next probe; 0 when none is planned. */
  readonly nextProbeInMs: number;
  /** Failures since the last success. */
  readonly consecutiveFailures: number;
}

// ── GET /api/v1/connections[?service=<name>] ───────────────────────────────────────────────────

/** Connections to endpoints, and those that servers have accepted, as counts. */
export interface Connections extends Answer {
  readonly kind: "Connections";
  /** One row for each endpoint that a connection was made for. */
  readonly outbound: readonly OutboundConnections[];
  /** One row for each server; none where a service was asked for. */
  readonly inbound: readonly InboundConnections[];
}

/** Connections to one endpoint. */
export interface OutboundConnections {
  /** Whose endpoint it is. */
  readonly service: string;
  /** `http` or `grpc`. */
  readonly protocol: string;
  /** Its address. */
  readonly endpoint: string;
  /** Established now; undefined: its protocol does not say. */
  readonly open: number | undefined;
  /** `limits.maxConnectionsPerEndpoint`; HTTP/2 needs few of them. */
  readonly maxOpen: number;
  /** `http/1.1` or `h2`; undefined before the first connection. */
  readonly application: string | undefined;
  /** They are encrypted. */
  readonly tls: boolean;
  /** Attempts on them, and those that wait for one. */
  readonly inFlight: number;
  /** Attempts that wait for a connection; undefined: its protocol does not say. */
  readonly queued: number | undefined;
  /** Replies whose body the application has not read: each holds a connection of HTTP/1.1. */
  readonly unread: number | undefined;
}

/** Connections that a server has accepted. */
export interface InboundConnections {
  /** Its `name`. */
  readonly server: string;
  /** `http` or `grpc`. */
  readonly protocol: string;
  /** Undefined: it cannot be known. */
  readonly open: number | undefined;
  /** Sessions of HTTP/2 among them. */
  readonly sessions: number | undefined;
}

// ── GET /api/v1/discovery[?service=<name>] ─────────────────────────────────────────────────────

/** Where endpoints come from, and how fresh they are. */
export interface DiscoveryAnswer extends Answer {
  readonly kind: "Discovery";
  /** One for each service whose endpoints are used. */
  readonly services: readonly DiscoveryView[];
}

/** A source of endpoints. */
export interface DiscoveryView extends DiscoverySummary {
  /** Whose endpoints it names. */
  readonly service: string;
  /** `http` or `grpc`. */
  readonly protocol: string;
  /** What is asked, as the configuration says: `dns orders:8080`. */
  readonly asks: string;
  /** That it names now, without those left out. */
  readonly endpoints: number;
  /** Since the source last gave an answer that was used; undefined: it never did, or is idle. */
  readonly answeredAgoMs: number | undefined;
  /** Since it last said that it cannot tell; undefined: it never did. */
  readonly failedAgoMs: number | undefined;
  /** Answers, changes of the endpoints and errors since the service is watched. */
  readonly answers: number;
  /** Endpoints that came. */
  readonly added: number;
  /** Endpoints that went. */
  readonly removed: number;
  /** Times it said that it cannot tell. */
  readonly errors: number;
  /** Endpoints that `limits.maxEndpoints` had no room for, of the last answer. */
  readonly excess: number;
}

// ── GET /api/v1/config[?service=<name>][&all=true] ─────────────────────────────────────────────

/** The configuration in force, with who has written what. */
export interface Config extends Answer {
  readonly kind: "Config";
  /** Goes up by one with each change. */
  readonly version: number;
  /** `refused`: what a source says now is not in force, because of `mistakes`; its last good layer is. */
  readonly state: "current" | "refused";
  /** Path of the configuration file. */
  readonly file: string | undefined;
  /** Environment, file and those of the application, where they have something to say. Code is none. */
  readonly sources: readonly ConfigSourceView[];
  /**
   * Every value that a source has written, by its path. With `?all=true` also those that are defaults. Of secrets
   * the value says that it is not shown.
   */
  readonly values: readonly ConfigValue[];
}

/** A source of the configuration. */
export interface ConfigSourceView {
  /** `environment`, `file`, or the name that it gave itself. */
  readonly name: string;
  /** Place in the order of docs/reference/config.md: a stronger one wins. */
  readonly rank: string;
  /** `waiting`: it has said nothing yet; `failed`: it cannot tell. In both its last good layer stays. */
  readonly state: "waiting" | "current" | "refused" | "failed";
  /** What the source calls its layer in force. */
  readonly version: string | undefined;
  /** Why its last word is not in force. */
  readonly mistakes: readonly MistakeView[];
}

/** What is wrong with a value. */
export interface MistakeView {
  /** `services.orders.retry.attempts`. */
  readonly path: string;
  /** `must be at least 1`. */
  readonly rule: string;
  /** As text, at most 80 characters, secrets left out. */
  readonly value: string;
  /** Where it is written: `file:/etc/mesh.yaml`. */
  readonly origin: string;
  /** In the file, from 1, where it is known. */
  readonly line: number | undefined;
}

/** One value in force. */
export interface ConfigValue {
  /** `services.orders.retry.attempts`. Routes and lists stand as a whole: `services.orders.routes`. */
  readonly path: string;
  /** As a configuration file would have it. */
  readonly value: ConfigJson;
  /** Who has written it; `default`: no source has. */
  readonly rank: string;
  /** `file:/etc/mesh.yaml`, `env:INMESH_SERVICE_ORDERS`, `code`, `default`. */
  readonly origin: string;
  /** Line in the file, from 1, where it is known. */
  readonly line: number | undefined;
}

/** Any value of JSON. */
export type ConfigJson = unknown;

// ── POST /api/v1/explain ───────────────────────────────────────────────────────────────────────

/** Asked with POST because headers may be secrets, which do not belong into a URL. Nothing is sent to the service. */
export interface ExplainRequest {
  /** Name of a service of this process, or a URL such as `http://orders.shop/v1/orders/42`, which has the path too. */
  readonly service: string;
  /** Default: the one that the service is called by. */
  readonly protocol?: string;
  /** Default `GET`; of gRPC `POST`. */
  readonly method?: string;
  /** With the query. Default: that of the URL, else `/`. Of gRPC `/package.Service/Method`. */
  readonly path?: string;
  /** By name, in any case. Values are never repeated in the answer. Default: none. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Where a call would go at this moment, and why not elsewhere. */
export interface Explanation extends Answer {
  readonly kind: "Explanation";
  /** Name of the service that was found. */
  readonly service: string;
  /** `http` or `grpc`. */
  readonly protocol: string;
  /** Of the call that was asked about. */
  readonly method: string;
  /** Without query. */
  readonly path: string;
  /** Undefined: it would be sent. Else why it would fail at once, with the reason of the error. */
  readonly refused:
    | {
        /** As in docs/reference/errors.md. */
        readonly reason: string;
        /** In words. */
        readonly why: string;
      }
    | undefined;
  /** The route that the call takes. */
  readonly route: ExplainedRoute;
  /** Every match of every route, in the order in which they compete; the first that matched is taken. */
  readonly matches: readonly ExplainedMatch[];
  /** Where the route sends. */
  readonly split: readonly ExplainedBackend[];
  /** Endpoints of these backends, those that may be picked first. */
  readonly candidates: readonly Candidate[];
}

/** The route that a call takes. */
export interface ExplainedRoute {
  /** Its name, or `default`: none matched. */
  readonly name: string;
  /** Time for all attempts together; undefined: none is set. */
  readonly requestMs: number | undefined;
  /** Time for one attempt until the head of its reply; undefined: none is set. */
  readonly backendRequestMs: number | undefined;
  /** It may be sent twice: by its method, or because the route says so. */
  readonly idempotent: boolean;
  /** No default deadline holds. */
  readonly streaming: boolean;
  /** Attempts at most, the first one included. */
  readonly attempts: number;
  /** Who has written the route, and what it takes from its service. */
  readonly wroteBy: readonly WrittenBy[];
}

/** Who has written a part of the configuration. */
export interface WrittenBy {
  /** `services.orders.routes`, `services.orders.timeouts.request`. */
  readonly path: string;
  /** As in `ConfigValue`. */
  readonly rank: string;
  /** As in `ConfigValue`. */
  readonly origin: string;
  /** As in `ConfigValue`. */
  readonly line: number | undefined;
}

/** One match of a route. */
export interface ExplainedMatch {
  /** Name of the route. */
  readonly route: string;
  /** Which of the matches of the route, from 0. */
  readonly match: number;
  /** All its conditions hold. */
  readonly matched: boolean;
  /** The call takes this one. */
  readonly taken: boolean;
  /** The first condition that failed: `header x-tier is not "gold"`. No values of the request. */
  readonly why: string | undefined;
}

export interface ExplainedBackend extends BackendShare {
  /** Share with those left out that have no endpoint, from 0 to 1. */
  readonly shareNow: number;
  /** Why it gets nothing now. */
  readonly why: string | undefined;
  /** How its share is spread over zones; undefined: it is not running. */
  readonly zones: ZonesView | undefined;
}

/** An endpoint that the call may go to, or not. */
export interface Candidate {
  /** The service whose endpoint it is. */
  readonly backend: string;
  /** Its address. */
  readonly endpoint: string;
  /** As discovery says. */
  readonly zone: string | undefined;
  /** As in `EndpointView`. */
  readonly state: EndpointState;
  /** As in `EndpointView`. */
  readonly cost: number;
  /** As in `EndpointView`. */
  readonly inFlight: number;
  /**
   * How often it is picked for a first attempt within its backend, from 0 to 1: by the balancer itself, asked
   * 1,000 times with things as they are.
   */
  readonly chance: number;
  /** Why it is picked so often, or never: `the lower cost of two drawn`, `open since 4s: 7 failures in a row`. */
  readonly why: string;
}

// ── GET /api/v1/checks ─────────────────────────────────────────────────────────────────────────

/** What a person would look at first. */
export interface Checks extends Answer {
  readonly kind: "Checks";
  /** The worst of them. */
  readonly status: CheckStatus;
  /** How many failed. */
  readonly failures: number;
  /** How many are warnings. */
  readonly warnings: number;
  /** Also those that are good; in the order of their groups. */
  readonly checks: readonly Check[];
}

export type CheckStatus = "ok" | "warning" | "failure";

/** One thing that was looked at. */
export interface Check {
  /** Stable, with a section in docs/reference/checks.md: `discovery-current`. */
  readonly id: string;
  /** `runtime`, `configuration`, `identity`, `services`, `servers`, `telemetry`, and kinds of discovery by their name. */
  readonly group: string;
  /** What it is about, such as a service; undefined: the process. */
  readonly subject: string | undefined;
  /** `warning`: it works, and somebody should look; `failure`: calls or requests fail, or will. */
  readonly status: CheckStatus;
  /** A sentence for people. */
  readonly message: string;
  /** What to do; undefined when good. */
  readonly hint: string | undefined;
  /** Where it is explained, relative to the repository: `docs/reference/checks.md#discovery-current`. */
  readonly page: string;
}

// ── GET /api/v1/log-level · PUT · DELETE ───────────────────────────────────────────────────────

export type LogLevel = "debug" | "info" | "warn";

/** Which lines `createMesh({ log })` gets. */
export interface LogLevelAnswer extends Answer {
  readonly kind: "LogLevel";
  /** That holds now. */
  readonly level: LogLevel;
  /** What holds without an override. */
  readonly standard: LogLevel;
  /** Until the override ends and `standard` holds again; undefined: there is none. */
  readonly endsInMs: number | undefined;
  /** False: `createMesh` was given no log, so there is none that gets lines. */
  readonly hasLog: boolean;
}

/** Body of PUT. */
export interface LogLevelRequest {
  /** `debug`: also a line for each attempt that failed and each call that did, at most 600 a minute of each service. */
  readonly level: LogLevel;
  /** After which `standard` holds again: 1,000 to 86,400,000. */
  readonly forMs: number;
}

/** What a write has changed, and how it is undone. */
export interface Changed extends Answer {
  readonly kind: "Changed";
  /** The resource that was changed. */
  readonly what: "log-level";
  /** What held before. */
  readonly before: LogLevelState;
  /** What holds now. */
  readonly after: LogLevelState;
  /** How to take it back. */
  readonly undo: Undo;
}

/** The level of the log at one moment. */
export interface LogLevelState {
  /** Lines below it are left out. */
  readonly level: LogLevel;
  /** Until the standard holds again; undefined: it does. */
  readonly endsInMs: number | undefined;
}

/** The request that takes a write back. */
export interface Undo {
  /** Of the request. */
  readonly method: "PUT" | "DELETE";
  /** Of the request. */
  readonly path: string;
  /** Undefined: none is sent. */
  readonly body: LogLevelRequest | undefined;
}

// ── GET /api/v1/dump ───────────────────────────────────────────────────────────────────────────

/** One bundle for bug reports. Nothing secret is in it: no header values, no keys, no metadata of endpoints. */
export interface Dump extends Answer {
  readonly kind: "Dump";
  /** As `GET /api/v1/about`. */
  readonly about: About;
  /** As `GET /api/v1/checks`. */
  readonly checks: Checks;
  /** As `GET /api/v1/services`. */
  readonly services: Services;
  /** As `GET /api/v1/endpoints`. */
  readonly endpoints: Endpoints;
  /** As `GET /api/v1/connections`. */
  readonly connections: Connections;
  /** As `GET /api/v1/discovery`. */
  readonly discovery: DiscoveryAnswer;
  /** As `GET /api/v1/config?all=true`. */
  readonly config: Config;
}

// ── GET /api/v1/tap ────────────────────────────────────────────────────────────────────────────
// An event stream (`text/event-stream`). The data of each event is one object of core/src/tap/event.ts, its event
// name the `type` of that object. A comment line comes at least every 15 seconds.
