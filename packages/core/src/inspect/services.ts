/** Services that a process calls, and servers that it runs, as plain data. */
import type { Reply } from "../call.ts";
import { describeDiscovery } from "../discovery-kinds.ts";
import type { Mesh } from "../mesh.ts";
import { readinessOf, type ServerOfMesh } from "../mesh-servers.ts";
import { backendsOf, defaultRoute } from "../pipeline.ts";
import type { RoutedRequest } from "../route/facts.ts";
import type { RunningService } from "../running-service.ts";
import type {
  DiscoveryView,
  EndpointCounts,
  InboundConnections,
  RouteView,
  ServerView,
  ServiceView,
} from "./api.ts";
import { connectionCounts, endpointCounts, type AnyBackend } from "./endpoints.ts";
import type { TrafficTable } from "./traffic.ts";

type AnyService = RunningService<RoutedRequest, Reply>;

/** `traffic`: undefined where the telemetry of the application takes the measurements. */
export function serviceView(
  service: AnyService,
  traffic: TrafficTable | undefined,
  now: number,
): ServiceView {
  const { name, protocol, config, backends, budget } = service;
  const own = ownBackend(service);
  const endpoints = endpointCounts(backends, now);
  const connections = connectionCounts(backends, own.cluster.problem);
  const key = { direction: "outbound", protocol, service: name };
  const reachability = service.reachability;
  const isConnected = reachability === "unconnected" && (connections.open ?? 0) > 0;
  return {
    name,
    protocol,
    state: isConnected ? "connected" : reachability,
    notes: notesOf(endpoints, own),
    endpoints,
    connections,
    scheme: config.scheme,
    callsInFlight: service.callsInFlight,
    maxInFlight: config.limits.maxInFlight,
    panic: own.cluster.lists.panic,
    discovery: own.discoverySnapshot(),
    zones: own.zones.view,
    retryBudget: {
      balance: budget.balance(),
      refused: budget.refused,
      withdrawn: budget.withdrawn,
    },
    traffic: traffic?.of(key),
    routes: [...config.routes, defaultRoute(config)].map((route): RouteView => {
      const refs = backendsOf(config, route);
      const total = refs.reduce((sum, { weight }) => sum + weight, 0);
      return {
        name: route.name,
        backends: refs.map((ref) => ({
          backend: ref.name,
          weight: ref.weight,
          share: ref.weight / total,
        })),
        traffic: traffic?.of(key, route.name),
      };
    }),
  };
}

function ownBackend({ name, backends }: AnyService): AnyBackend {
  return [...backends].find((one) => one.name === name)!;
}

/** The worst first. */
function notesOf(counts: EndpointCounts, { cluster }: AnyBackend): string[] {
  const notes: string[] = [];
  const { total, available, open, refusing, halfOpen, draining } = counts;
  const of = (count: number): string =>
    `${count} of ${total} ${total === 1 ? "endpoint" : "endpoints"}`;
  const is = (count: number): string => (count === 1 ? "is" : "are");
  const has = (count: number): string => (count === 1 ? "has" : "have");
  if (total > 0 && available + halfOpen === 0) notes.push("no endpoint can be picked");
  else if (cluster.known && total === 0) notes.push("discovery names no endpoint");
  if (cluster.lists.panic) notes.push("so many endpoints fail that verdicts are not enforced");
  if (refusing > 0)
    notes.push(`${of(refusing)} ${refusing === 1 ? "refuses" : "refuse"} connections`);
  if (open > 0) notes.push(`${of(open)} ${has(open)} an open breaker`);
  if (halfOpen > 0) notes.push(`${of(halfOpen)} ${has(halfOpen)} a half-open breaker`);
  if (cluster.stale !== undefined) notes.push(`discovery is stale: ${cluster.stale.message}`);
  if (cluster.problem !== undefined) notes.push(`certificates: ${cluster.problem}`);
  if (draining > 0) notes.push(`${of(draining)} ${is(draining)} draining`);
  return notes;
}

export function discoveryView(mesh: Mesh, backend: AnyBackend): DiscoveryView {
  const { name, protocol, config, cluster, heard } = backend;
  const now = mesh.runtime.now();
  const ago = (at: number | undefined): number | undefined => at && Math.max(0, now - at);
  const { discovery } = config;
  return {
    ...backend.discoverySnapshot(),
    service: name,
    protocol,
    asks: describeDiscovery(discovery, mesh.running.kinds),
    endpoints: cluster.endpoints.size,
    answeredAgoMs: backend.asleep ? undefined : ago(heard.answeredAt),
    failedAgoMs: ago(heard.failedAt),
    answers: heard.answers,
    added: heard.added,
    removed: heard.removed,
    errors: heard.errors,
    excess: heard.excess,
  };
}

export function serverView(server: ServerOfMesh, traffic: TrafficTable | undefined): ServerView {
  const { name, protocol } = server;
  const served = traffic?.of({ direction: "inbound", protocol, service: name });
  return {
    name,
    protocol,
    state: server.state,
    readiness: readinessOf(server),
    posture: server.posture,
    requestsInFlight: server.requestsInFlight,
    connections: server.facts().connections,
    refused: server.refused,
    pending: server.pending,
    problem: server.problem,
    calls: served?.calls,
    latency: served?.callLatency,
  };
}

export function inboundConnections(server: ServerOfMesh): InboundConnections {
  const { connections: open, sessions } = server.facts();
  return { server: server.name, protocol: server.protocol, open, sessions };
}
