/**
 * Every name that our spans use: those of the semantic conventions of OpenTelemetry (1.45.0) where they have one, our
 * own for the rest, and what a call, an attempt and a served request have under them. Nothing here is asked for
 * unless a span is recorded. docs/reference/traces.md is checked against these lists.
 */
import { SpanStatusCode, TraceFlags, type Attributes, type Span } from "@opentelemetry/api";
import type { Outcome } from "../call.ts";
import { grpcStatusName } from "../grpc-status.ts";
import { knownMethod, serverPort } from "../telemetry/standard.ts";
import type { CallObservation } from "../observe/call-observation.ts";
import type {
  EndedAttempt,
  EndedCall,
  EndedRequest,
  ObservedRequest,
  StartedAttempt,
} from "../observe/observer.ts";

export const NAMES = {
  errorType: "error.type",
  method: "http.request.method",
  originalMethod: "http.request.method_original",
  resendCount: "http.request.resend_count",
  httpStatus: "http.response.status_code",
  peerAddress: "network.peer.address",
  peerPort: "network.peer.port",
  networkTransport: "network.transport",
  clientAddress: "client.address",
  rpcMethod: "rpc.method",
  rpcStatus: "rpc.status_code",
  rpcSystem: "rpc.system.name",
  serverAddress: "server.address",
  serverPort: "server.port",
  urlFull: "url.full",
  urlPath: "url.path",
  urlScheme: "url.scheme",
  attemptKind: "inmesh.attempt.kind",
  attemptNumber: "inmesh.attempt.number",
  attempts: "inmesh.attempts",
  backend: "inmesh.split.backend",
  code: "inmesh.code",
  connectionReused: "inmesh.connection.reused",
  configGeneration: "inmesh.config.generation",
  deadlineMs: "inmesh.deadline.remaining_ms",
  decision: "inmesh.decision",
  endpoint: "inmesh.endpoint",
  endpointBreaker: "inmesh.endpoint.breaker",
  endpointCost: "inmesh.endpoint.cost",
  endpointRule: "inmesh.endpoint.rule",
  endpointZone: "inmesh.endpoint.zone",
  outcome: "inmesh.outcome",
  pauseMs: "inmesh.pause_ms",
  peerId: "inmesh.peer.id",
  priority: "inmesh.priority",
  progress: "inmesh.progress",
  queuedMs: "inmesh.queued_ms",
  reason: "inmesh.reason",
  route: "inmesh.route",
  server: "inmesh.server",
  service: "inmesh.service",
} as const;

/** Of the call's span; `shed` of a server's span too. */
export const EVENTS = {
  queued: "queued",
  picked: "picked",
  retry: "retry",
  hedge: "hedge",
  notRetried: "not_retried",
  shed: "shed",
} as const;

const GRPC = "grpc";
interface Requested {
  readonly protocol: string;
  readonly method: string;
  readonly path: string;
}

/**
 * Of an attempt's span, and of a server's: `GET`, or `package.Service/Method`. A name of a span that a peer can choose
 * would have no bound.
 */
export function requestName({ protocol, method, path }: Requested): string {
  if (protocol === GRPC) return path.slice(1);
  return knownMethod(method) === method ? method : "HTTP";
}

function aboutRequest({ protocol, method, path }: Requested): Attributes {
  if (protocol === GRPC) return { [NAMES.rpcSystem]: GRPC, [NAMES.rpcMethod]: path.slice(1) };
  const known = knownMethod(method);
  if (known === method) return { [NAMES.method]: method };
  return { [NAMES.method]: known, [NAMES.originalMethod]: method };
}

function aboutStatus(protocol: string, status: number | undefined): Attributes {
  if (status === undefined) return {};
  return protocol === GRPC
    ? { [NAMES.rpcStatus]: grpcStatusName(status) }
    : { [NAMES.httpStatus]: status };
}

/** `10.0.0.7:8080`, `[::1]:80`, `unix:/run/orders`. */
function aboutPeer(address: string): Attributes {
  if (address.startsWith("unix:")) {
    return { [NAMES.peerAddress]: address.slice(5), [NAMES.networkTransport]: "unix" };
  }
  const colon = address.lastIndexOf(":");
  const host = address.slice(0, colon);
  return {
    [NAMES.peerAddress]: host.startsWith("[") ? host.slice(1, -1) : host,
    [NAMES.peerPort]: Number(address.slice(colon + 1)),
  };
}

/** Known at the start of an attempt, where samplers can see it. */
export function attemptAttributes(attempt: StartedAttempt, call: CallObservation): Attributes {
  const { number, kind, endpoint, zone, cost, breaker, pickedBy } = attempt;
  const { protocol, service, route, scheme, authority, path } = call;
  const attributes: Attributes = {
    ...aboutRequest(call),
    ...aboutPeer(endpoint),
    [NAMES.serverAddress]: service,
    [NAMES.serverPort]: Number(serverPort(call)),
    [NAMES.service]: service,
    [NAMES.route]: route,
    [NAMES.attemptNumber]: number,
    [NAMES.attemptKind]: kind,
    [NAMES.endpoint]: endpoint,
    [NAMES.endpointCost]: cost,
    [NAMES.endpointBreaker]: breaker,
    [NAMES.endpointRule]: pickedBy,
  };
  if (zone !== undefined) attributes[NAMES.endpointZone] = zone;
  if (protocol !== GRPC) {
    // Without the query, which may hold what should not leave the process.
    attributes[NAMES.urlFull] = `${scheme}://${authority}${path}`;
    if (number > 1) attributes[NAMES.resendCount] = number - 1;
  }
  return attributes;
}

export function pickedAttributes(attempt: StartedAttempt): Attributes {
  const { number, endpoint, zone, cost, breaker, pickedBy, backend } = attempt;
  const attributes: Attributes = {
    [NAMES.attemptNumber]: number,
    [NAMES.endpoint]: endpoint,
    [NAMES.endpointCost]: cost,
    [NAMES.endpointBreaker]: breaker,
    [NAMES.endpointRule]: pickedBy,
    [NAMES.backend]: backend,
  };
  if (zone !== undefined) attributes[NAMES.endpointZone] = zone;
  return attributes;
}

export function endedAttemptAttributes(
  { outcome, status, error, progress, connectionReused, peer }: EndedAttempt,
  protocol: string,
): Attributes {
  const id = peer?.uris[0];
  return {
    ...(id === undefined ? undefined : { [NAMES.peerId]: id }),
    ...(connectionReused === undefined
      ? undefined
      : { [NAMES.connectionReused]: connectionReused }),
    ...aboutStatus(protocol, status),
    ...aboutOutcome(outcome, error?.reason, protocol, status),
    ...(error === undefined ? undefined : { [NAMES.code]: error.code }),
    [NAMES.progress]: progress,
  };
}

export function endedCallAttributes(call: EndedCall, generation: number): Attributes {
  const { outcome, status, error, route, attempts, lastAttempt, protocol } = call;
  return {
    ...aboutOutcome(outcome, error?.reason, protocol, status),
    ...(error === undefined ? undefined : { [NAMES.code]: error.code }),
    [NAMES.route]: route,
    [NAMES.attempts]: attempts,
    [NAMES.configGeneration]: generation,
    ...(lastAttempt === undefined ? undefined : { [NAMES.backend]: lastAttempt.backend }),
  };
}

export function servedAttributes(request: ObservedRequest): Attributes {
  const { protocol, server, path, peer } = request;
  const attributes: Attributes = { ...aboutRequest(request), [NAMES.server]: server };
  if (protocol !== GRPC) {
    attributes[NAMES.urlPath] = path;
    attributes[NAMES.urlScheme] = peer.tls ? "https" : "http";
  }
  if (peer.address !== undefined) {
    attributes[NAMES.clientAddress] = attributes[NAMES.peerAddress] = peer.address;
    if (peer.port !== undefined) attributes[NAMES.peerPort] = peer.port;
  }
  const [id] = peer.uris;
  if (id !== undefined) attributes[NAMES.peerId] = id;
  return attributes;
}

export function endedServedAttributes(request: EndedRequest): Attributes {
  const { protocol, outcome, status, reason, deadlineAt, startedAt, attempt, priority } = request;
  const attributes: Attributes = {
    ...aboutStatus(protocol, status),
    ...aboutOutcome(outcome, reason, protocol, status),
    [NAMES.attemptNumber]: attempt,
    [NAMES.priority]: priority,
  };
  if (deadlineAt !== Infinity) attributes[NAMES.deadlineMs] = Math.round(deadlineAt - startedAt);
  return attributes;
}

function aboutOutcome(
  outcome: Outcome,
  reason: string | undefined,
  protocol: string,
  status: number | undefined,
): Attributes {
  const attributes: Attributes = { [NAMES.outcome]: outcome };
  if (reason !== undefined) attributes[NAMES.reason] = attributes[NAMES.errorType] = reason;
  else if (outcome !== "success" && status !== undefined) {
    attributes[NAMES.errorType] = protocol === GRPC ? grpcStatusName(status) : String(status);
  }
  return attributes;
}

/** For exemplars: of a span that is exported. */
export function sampledId(span: Span): string | undefined {
  const { traceId, traceFlags } = span.spanContext();
  return (traceFlags & TraceFlags.SAMPLED) === 0 ? undefined : traceId;
}

/** Overload that another endpoint has answered, and what its caller no longer waited for, are no errors. */
export function endSpan(
  span: Span,
  outcome: Outcome,
  message: string | undefined,
  attributes: Attributes,
): void {
  span.setAttributes(attributes);
  if (outcome === "failure" || outcome === "timeout") {
    span.setStatus(
      message === undefined
        ? { code: SpanStatusCode.ERROR }
        : { code: SpanStatusCode.ERROR, message },
    );
  }
  span.end();
}
