/**
 * Lines of JSON. Names are those of OpenTelemetry's semantic conventions where they have one, and `inmesh.…`
 * otherwise; fields without a value are left out.
 */
import { grpcStatusName } from "../grpc-status.ts";
import type { EndedCall, EndedRequest } from "../observe/observer.ts";
import { traceIdOf } from "../observe/trace-id.ts";
import { isoTime } from "../runtime/wall-text.ts";
import { shown } from "./shown.ts";

type Fields = Record<string, string | number | boolean | undefined>;

export function requestLine(request: EndedRequest, wallMs: number, query: boolean): string {
  const { peer, reason } = request;
  const id = peer.uris[0] ?? peer.names[0];
  return line({
    timestamp: isoTime(wallMs),
    "inmesh.direction": "inbound",
    "inmesh.service": shown(request.server),
    "inmesh.route": shown(request.route),
    ...what(request, query),
    "network.protocol.name": "http",
    "network.protocol.version": request.httpVersion,
    "network.peer.address": peer.address,
    "network.peer.port": peer.port,
    "inmesh.peer.id": id === undefined ? undefined : shown(id),
    "user_agent.original": shown(request.header("user-agent")),
    ...status(request),
    "inmesh.outcome": request.outcome,
    "error.type": reason,
    "inmesh.attempt.number": request.attempt,
    "inmesh.duration_ms": rounded(request.durationMs),
    ...sizes(request, request.receivedBytes, request.sentBytes),
    trace_id: traceIdOf(request),
  });
}

export function callLine(call: EndedCall, wallMs: number, query: boolean): string {
  const { error } = call;
  const last = call.lastAttempt;
  return line({
    timestamp: isoTime(wallMs),
    "inmesh.direction": "outbound",
    "inmesh.service": shown(call.service),
    "inmesh.route": call.route === "" ? undefined : shown(call.route),
    ...what(call, query),
    "network.peer.address": last?.endpoint,
    ...status(call),
    "inmesh.outcome": call.outcome,
    "error.type": error?.reason,
    "error.message": shown(error?.message),
    "inmesh.attempts": call.attempts,
    "inmesh.not_retried": call.notRetried,
    "inmesh.duration_ms": rounded(call.durationMs),
    ...sizes(call, call.sentBytes, call.receivedBytes),
    trace_id: traceIdOf(call),
  });
}

function what({ protocol, method, path, query }: EndedCall | EndedRequest, asked: boolean): Fields {
  if (protocol !== "grpc") {
    return {
      "http.request.method": shown(method),
      "url.path": shown(path),
      "url.query": asked && query !== "" ? shown(query) : undefined,
    };
  }
  return { "rpc.system.name": "grpc", "rpc.method": shown(path.slice(1)) };
}

function status({ protocol, status: code }: EndedCall | EndedRequest): Fields {
  if (code === undefined) return {};
  return protocol === "grpc"
    ? { "rpc.status_code": grpcStatusName(code) }
    : { "http.response.status_code": code };
}

/** Of the request and of the reply: OpenTelemetry has no attributes for those of messages. */
function sizes({ protocol }: EndedCall | EndedRequest, request: number, reply: number): Fields {
  return protocol === "grpc"
    ? { "inmesh.request.size": request, "inmesh.response.size": reply }
    : { "http.request.body.size": request, "http.response.body.size": reply };
}

/** To a microsecond. */
function rounded(ms: number): number {
  return Math.round(ms * 1_000) / 1_000;
}

function line(fields: Fields): string {
  return `${JSON.stringify(fields)}\n`;
}
