/** An ended call, or request, as plain data. Only for those that a tap shows. */
import type { EndedAttempt, EndedCall, EndedRequest } from "../observe/observer.ts";
import { NOT_RETRIED_BECAUSE } from "../retry/why.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { duration } from "../shown-time.ts";
import type { TapAttempt, TapCall, TapDecision, TapEnd, TapPeer, TapRequest } from "./event.ts";
import { shownFields, eventText } from "./redact.ts";
import { traceIdOf } from "../observe/trace-id.ts";

/** What of a head a tap shows. */
export interface Shown {
  readonly headers: boolean;
  readonly redact: ReadonlySet<string>;
  readonly query: boolean;
}

export function callEvent(call: EndedCall, shown: Shown, runtime: Runtime): TapCall {
  const attempts = attemptsOf(call);
  const { error, servedFor } = call;
  return {
    ...endOf(call, shown, runtime),
    direction: "outbound",
    service: call.service,
    route: call.route,
    ...(error !== undefined && {
      reason: error.reason,
      error: { code: error.code, reason: error.reason, message: eventText(error.message) },
    }),
    ...(servedFor !== undefined && { servedFor: servedFor.id }),
    decisions: decisionsOf(call, attempts),
    attempts: attempts.map((attempt) => attemptOf(attempt, call)),
  };
}

export function requestEvent(request: EndedRequest, shown: Shown, runtime: Runtime): TapRequest {
  const { reason } = request;
  const decisions: TapDecision[] = [];
  if (reason !== undefined) {
    const why = "the server refused it, or cut it short, for this reason";
    decisions.push({ what: "refuse", result: reason, why });
  }
  return {
    ...endOf(request, shown, runtime),
    direction: "inbound",
    service: request.server,
    route: request.route,
    ...(reason !== undefined && { reason }),
    peer: peerOf(request),
    attempt: request.attempt,
    priority: request.priority,
    decisions,
  };
}

function endOf(
  ended: EndedCall | EndedRequest,
  shown: Shown,
  runtime: Runtime,
): Omit<TapEnd, "decisions"> {
  const { status, startedAt, deadlineAt } = ended;
  const traceId = traceIdOf(ended);
  return {
    version: 1,
    event: "call",
    id: ended.id,
    at: rounded(runtime.wallNow() - (runtime.now() - startedAt)),
    protocol: ended.protocol,
    method: eventText(ended.method),
    path: eventText(ended.path),
    ...(shown.query && ended.query !== "" && { query: eventText(ended.query) }),
    ...(shown.headers && { headers: shownFields(ended.fields(), shown.redact) }),
    ...(traceId !== undefined && { traceId }),
    outcome: ended.outcome,
    ...(status !== undefined && { status }),
    durationMs: rounded(ended.durationMs),
    ...(deadlineAt !== Infinity && { deadlineMs: rounded(deadlineAt - startedAt) }),
    sentBytes: ended.sentBytes,
    receivedBytes: ended.receivedBytes,
  };
}

/** To a microsecond: further digits are noise of the clock, and make every event longer. */
function rounded(ms: number): number {
  return Math.round(ms * 1_000) / 1_000;
}

/** In the order in which they began. */
function attemptsOf({ lastAttempt }: EndedCall): EndedAttempt[] {
  const all: EndedAttempt[] = [];
  for (let one = lastAttempt; one !== undefined; one = one.previous) all.push(one);
  return all.toReversed();
}

function attemptOf(attempt: EndedAttempt, call: EndedCall): TapAttempt {
  const { retryReason, zone, connectionReused, queuedMs, headMs, status, error } = attempt;
  return {
    number: attempt.number,
    kind: attempt.kind,
    ...(retryReason !== undefined && { retryReason }),
    backend: attempt.backend,
    endpoint: attempt.endpoint,
    ...(zone !== undefined && { zone }),
    pickedBy: attempt.pickedBy,
    why: attempt.why,
    startedMs: rounded(attempt.startedAt - call.startedAt),
    ...(connectionReused !== undefined && { connectionReused }),
    ...(queuedMs !== undefined && { queuedMs: rounded(queuedMs) }),
    ...(headMs !== undefined && { headMs: rounded(headMs) }),
    durationMs: rounded(attempt.durationMs),
    outcome: attempt.outcome,
    ...(status !== undefined && { status }),
    ...(error !== undefined && { reason: error.reason }),
    progress: attempt.progress,
    sentBytes: attempt.sentBytes,
    receivedBytes: attempt.receivedBytes,
  };
}

function decisionsOf(call: EndedCall, attempts: readonly EndedAttempt[]): TapDecision[] {
  const { route, deadlineAt, deadlineFrom, startedAt, notRetried, error, service } = call;
  const all: TapDecision[] = [];
  if (route !== "") {
    const why = route === "default" ? "no route matches" : "the first in precedence that matches";
    all.push({ what: "route", result: route, why });
  }
  if (deadlineFrom !== undefined) {
    const within = duration(Math.round(deadlineAt - startedAt));
    all.push({
      what: "deadline",
      result: deadlineFrom,
      why: `${within} from the beginning of the call`,
    });
  }
  for (const one of attempts) {
    const { number: attempt, kind, backend } = one;
    if (kind !== "first") all.push({ what: "retry", result: kind, why: whyRepeated(one), attempt });
    if (backend === service) continue;
    const why = "drawn by the weights of the route's backendRefs";
    all.push({ what: "split", result: backend, why, attempt });
  }
  if (notRetried !== undefined) {
    all.push({ what: "retry", result: notRetried, why: NOT_RETRIED_BECAUSE[notRetried] });
  } else if (error !== undefined && attempts.length === 0) {
    all.push({ what: "refuse", result: error.reason, why: eventText(error.message) });
  }
  return all;
}

function whyRepeated({ kind, retryReason, previous }: EndedAttempt): string {
  if (kind === "hedge") return "beside one that was still running";
  const failed = retryReason === "status" ? `status ${previous?.status}` : retryReason;
  return kind === "resend"
    ? `the attempt before was certainly not processed: ${failed}`
    : `the attempt before failed, and the call may be repeated: ${failed}`;
}

function peerOf({ peer }: EndedRequest): TapPeer {
  const { address, port, tls } = peer;
  const id = peer.uris[0] ?? peer.names[0];
  return {
    ...(address !== undefined && { address }),
    ...(port !== undefined && { port }),
    tls,
    ...(id !== undefined && { id: eventText(id) }),
  };
}
