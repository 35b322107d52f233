/**
 * Where a call would go at this moment, and why not elsewhere. Routes are compared by the table that calls use, and
 * endpoints are drawn by the balancer that is configured; nothing is sent, and no counter changes.
 */
import { whyNone } from "../balance/balance.ts";
import { PICKED_BECAUSE } from "../balance/why.ts";
import { Attempt, Call, type PickRule, type Reply } from "../call.ts";
import { unknownKeyRule } from "../config/did-you-mean.ts";
import { renderPath, type PathPart } from "../config/mistakes.ts";
import type { ConfigOrigin } from "../config/store.ts";
import type { RouteConfig, ServiceConfig } from "../config/types.ts";
import type { Mesh } from "../mesh.ts";
import { backendsOf, defaultRoute } from "../pipeline.ts";
import type { HeadField, RoutedRequest } from "../route/facts.ts";
import { compileTable } from "../route/table.ts";
import type { RunningService } from "../running-service.ts";
import type { Body } from "./answer.ts";
import type {
  Candidate,
  Explanation,
  ExplainedBackend,
  ExplainedMatch,
  ExplainRequest,
  WrittenBy,
} from "./api.ts";
import { endpointState } from "../cluster/endpoint-state.ts";
import { whyOf, type AnyBackend, type AnyEndpoint } from "./endpoints.ts";
import { InspectionError } from "./error.ts";

type AnyService = RunningService<RoutedRequest, Reply>;

/** How often the balancer is asked: a chance is right to within a few percent. */
const DRAWS = 1_000;
/** Endpoints that are looked at for the lowest cost. */
const MAX_COMPARED = 10_000;
/** Methods of which doing it twice is doing it once (RFC 9110, section 9.2.2). */
const IDEMPOTENT: ReadonlySet<string> = new Set([
  "GET",
  "HEAD",
  "OPTIONS",
  "TRACE",
  "PUT",
  "DELETE",
]);

/** The call that is asked about, with what routes look at. */
class ExplainedCall implements RoutedRequest {
  readonly method: string;
  readonly pathname: string;
  readonly queryText: string;
  readonly #query: URLSearchParams;
  readonly #headers = new Map<string, string>();

  constructor(method: string, path: string, headers: Readonly<Record<string, string>>) {
    const [beforeHash = ""] = path.split("#", 1);
    const mark = beforeHash.indexOf("?");
    this.method = method;
    this.pathname = mark < 0 ? beforeHash : beforeHash.slice(0, mark);
    this.queryText = mark < 0 ? "" : beforeHash.slice(mark + 1);
    this.#query = new URLSearchParams(this.queryText);
    for (const [name, value] of Object.entries(headers)) {
      this.#headers.set(name.toLowerCase(), value);
    }
  }

  header(name: string): string | undefined {
    return this.#headers.get(name);
  }

  queryParam(name: string): string | undefined {
    return this.#query.get(name) ?? undefined;
  }

  fields(): HeadField[] {
    return [...this.#headers];
  }

  changeHeaders(): void {}
}

/** Throws an InspectionError for a service that no client has asked for, and for a path that is none. */
export function explain(mesh: Mesh, request: ExplainRequest): Body<Explanation> {
  const { service, path: fromUrl } = serviceOf(mesh, request);
  const { config } = service;
  const method = request.method ?? (service.protocol === "grpc" ? "POST" : "GET");
  const call = new ExplainedCall(method, pathOf(request.path ?? fromUrl), request.headers ?? {});
  const fallback = defaultRoute(config);
  const routes = config.routes.map((route) => ({ config: route, value: route }));
  const table = compileTable<RouteConfig>(routes, fallback);
  const taken = table.match(call);
  const rows = table.explain(call);
  const first = rows.findIndex(({ matched }) => matched);
  const matches: ExplainedMatch[] = rows.map((row, i) => ({ ...row, taken: i === first }));
  const split = splitOf(service, taken);
  const isIdempotent = taken.idempotent || IDEMPOTENT.has(method);
  const origin = mesh.running.origins();
  return {
    service: service.name,
    protocol: service.protocol,
    method,
    path: call.pathname,
    refused: refusedBecause(mesh, service, split),
    route: {
      name: taken.name,
      requestMs: finite(taken.timeouts.requestMs),
      backendRequestMs: finite(taken.timeouts.backendRequestMs),
      idempotent: isIdempotent,
      streaming: taken.streaming,
      attempts: taken.retry.attempts,
      wroteBy: writersOf(config, taken, taken === fallback, origin),
    },
    matches,
    split: split.map(({ running: _running, ...rest }) => rest),
    candidates: split.flatMap(({ running }) =>
      running === undefined ? [] : candidatesOf(mesh, running, call, isIdempotent),
    ),
  };
}

function serviceOf(
  mesh: Mesh,
  { service: wanted, protocol }: ExplainRequest,
): { readonly service: AnyService; readonly path: string } {
  const { services } = mesh.running;
  const { name, path } = targetOf(wanted, services);
  const named = services.filter((one) => one.name === name);
  const service = named.find((one) => protocol === undefined || one.protocol === protocol);
  if (service !== undefined) return { service, path };
  const configured = Object.hasOwn(mesh.config.current.services, name);
  const known = [...new Set(services.map((one) => one.name))];
  const message =
    named.length > 0
      ? `no client calls ${JSON.stringify(name)} by ${JSON.stringify(protocol)}`
      : configured
        ? `${JSON.stringify(name)} is configured, and no client has asked for it yet`
        : `the service ${JSON.stringify(name)} ${known.length === 0 ? "is not known" : unknownKeyRule(name, known)}`;
  throw new InspectionError(
    "unknown_service",
    message,
    configured || named.length > 0
      ? "let the process make a client of the service, with meshClient or meshChannel, and ask again"
      : "inmesh stat, or GET /api/v1/services, lists the services that this process calls",
  );
}

/** A service by its name; a URL is that of a service, or one that a client was opened with. */
function targetOf(
  wanted: string,
  services: readonly AnyService[],
): { readonly name: string; readonly path: string } {
  if (!wanted.includes("://") || services.some(({ name }) => name === wanted)) {
    return { name: wanted, path: "/" };
  }
  const url = URL.canParse(wanted) ? new URL(wanted) : undefined;
  if (url === undefined) {
    throw new InspectionError(
      "bad_request",
      "service must be a name or a URL",
      "write it as orders or as http://orders/v1/orders/42",
    );
  }
  const { host, hostname, port } = url;
  const standardPort = url.protocol === "https:" ? "443" : "80";
  const names = [host, hostname, `${hostname}:${port === "" ? standardPort : port}`];
  const name = names.find((one) => services.some((known) => known.name === one)) ?? hostname;
  return { name, path: url.pathname + url.search };
}

function pathOf(path: string): string {
  if (path.startsWith("/")) return path;
  throw new InspectionError(
    "bad_request",
    "path must begin with /",
    "write the path as it is sent, such as /v1/orders/42?full=1",
  );
}

interface SplitRow extends ExplainedBackend {
  readonly running: AnyBackend | undefined;
}

/** As `compileSplit` chooses: what cannot be reached leaves its share to the others, unless none can. */
function splitOf(service: AnyService, route: RouteConfig): readonly SplitRow[] {
  const refs = backendsOf(service.config, route);
  const running = new Map([...service.backends].map((one) => [one.name, one]));
  const isUsable = (name: string): boolean => {
    const cluster = running.get(name)?.cluster;
    return cluster !== undefined && (!cluster.known || cluster.usable);
  };
  const sum = (of: readonly { readonly weight: number }[]): number =>
    of.reduce((total, { weight }) => total + weight, 0);
  const usable = refs.filter(({ name, weight }) => weight > 0 && isUsable(name));
  const getting = usable.length === 0 ? refs : usable;
  return refs.map((ref) => ({
    backend: ref.name,
    weight: ref.weight,
    share: ref.weight / sum(refs),
    shareNow: getting.includes(ref) ? ref.weight / sum(getting) : 0,
    why: whyNothing(running.get(ref.name), ref.weight),
    zones: running.get(ref.name)?.zones.view,
    running: running.get(ref.name),
  }));
}

function whyNothing(backend: AnyBackend | undefined, weight: number): string | undefined {
  if (weight === 0) return "its weight is 0";
  if (backend === undefined) return "it is not running";
  const { cluster, asleep } = backend;
  if (asleep)
    return "nothing is watched, because no call was made for a while; the next one starts it";
  if (cluster.usable) return undefined;
  const [, why] = whyNone(cluster);
  return cluster.stale === undefined ? why : `${why} (${cluster.stale.message})`;
}

function refusedBecause(
  mesh: Mesh,
  service: AnyService,
  split: readonly SplitRow[],
): Explanation["refused"] {
  if (mesh.running.state !== "open") return { reason: "closing", why: "the mesh is closed" };
  const { maxInFlight } = service.config.limits;
  if (service.callsInFlight >= maxInFlight) {
    const why = `${service.callsInFlight} calls are in progress already (limits.maxInFlight)`;
    return { reason: "concurrency", why };
  }
  // Before the first answer of discovery a call waits, and is not refused.
  const dead = split.filter(({ running, weight }) => {
    const cluster = running?.cluster;
    return weight > 0 && cluster?.known === true && !cluster.usable;
  });
  if (dead.length === 0 || dead.length < split.filter(({ weight }) => weight > 0).length) {
    return undefined;
  }
  const [reason, why] = whyNone(dead[0]!.running!.cluster);
  return { reason, why };
}

/** Endpoints of a backend: those that are picked most often first. */
function candidatesOf(
  mesh: Mesh,
  backend: AnyBackend,
  request: ExplainedCall,
  isIdempotent: boolean,
): Candidate[] {
  const { cluster, name } = backend;
  const { runtime } = mesh;
  const now = runtime.now();
  const g = cluster.peerMedian(now);
  const picks = new Map<AnyEndpoint, { count: number; rules: Map<PickRule, number> }>();
  // One of its own: it may remember whose turn it is.
  const picker = backend.newPicker();
  for (let i = 0; i < DRAWS; i++) {
    const attempt = new Attempt(
      new Call<RoutedRequest>(name, request, isIdempotent, true),
      1,
      "first",
    );
    const endpoint = picker.pick(attempt, now);
    if (endpoint === undefined) break;
    let seen = picks.get(endpoint);
    if (seen === undefined) picks.set(endpoint, (seen = { count: 0, rules: new Map() }));
    seen.count++;
    seen.rules.set(attempt.rule, (seen.rules.get(attempt.rule) ?? 0) + 1);
  }
  const cheapest = Math.min(
    ...cluster.lists.available.slice(0, MAX_COMPARED).map((one) => one.cost(now, g)),
  );
  return [...cluster.endpoints.values()]
    .map((endpoint): Candidate => {
      const seen = picks.get(endpoint);
      const cost = endpoint.cost(now, g);
      return {
        backend: name,
        endpoint: endpoint.address,
        zone: endpoint.zone,
        state: endpointState(endpoint, now),
        cost,
        inFlight: endpoint.inFlight,
        chance: (seen?.count ?? 0) / DRAWS,
        why:
          seen === undefined
            ? (whyOf(endpoint, now) ??
              `cost ${shown(cost)} against ${shown(cheapest)} of the cheapest`)
            : `${PICKED_BECAUSE[mostOf(seen.rules)]}: cost ${shown(cost)}`,
      };
    })
    .toSorted((a, b) => b.chance - a.chance);
}

function mostOf(rules: ReadonlyMap<PickRule, number>): PickRule {
  return [...rules].toSorted(([, a], [, b]) => b - a)[0]![0];
}

function shown(cost: number): string {
  return cost >= 100 ? cost.toFixed(0) : cost.toFixed(1);
}

/** Who has written what a person would look up: the route, and what it takes from the service. */
function writersOf(
  { name, timeouts, retry }: ServiceConfig,
  route: RouteConfig,
  isDefault: boolean,
  origin: (path: readonly PathPart[]) => ConfigOrigin,
): WrittenBy[] {
  const own = ["services", name, "routes"];
  const isOwn = (mine: unknown, ofService: unknown): boolean => !isDefault && mine !== ofService;
  const paths: PathPart[][] = [
    ...(isDefault ? [] : [own]),
    ["services", name, "discovery"],
    ...(isOwn(route.timeouts.requestMs, timeouts.requestMs)
      ? []
      : [["services", name, "timeouts", "request"]]),
    ...(isOwn(route.retry.attempts, retry.attempts)
      ? []
      : [["services", name, "retry", "attempts"]]),
    ["services", name, "balancer", "kind"],
  ];
  return paths.map((path) => {
    const { rank, origin: where, line } = origin(path);
    return { path: renderPath(path), rank, origin: where, line };
  });
}

function finite(ms: number): number | undefined {
  return Number.isFinite(ms) ? ms : undefined;
}
