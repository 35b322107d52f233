/**
 * From a request to a Call in the pipeline: what every way in (`meshClient`, the dispatcher, `fetch`)
 * has in common. It is the one place where a call takes on what the request being served says.
 */
import { Call, context, inheritFrom, stacklessError, type Service } from "@inmesh/core/spi";
import type { CallInit } from "./call-options.ts";
import { isIdempotent } from "./classify.ts";
import type { HttpResult } from "./lease.ts";
import type { HttpReply } from "./reply.ts";
import { tracedByOthers, type HttpRequest } from "./request.ts";
import { cancelUnread } from "./supplied-body.ts";
import { surfaced } from "./surface.ts";

export type HttpService = Service<HttpRequest, HttpResult>;

/** What a call needs of its service to begin. */
export type StartingService = Pick<HttpService, "name" | "config" | "runtime" | "current">;

/** Hears that an attempt failed and another follows. Must not throw. */
export type RetryWatcher = NonNullable<Call<HttpRequest>["onRetry"]>;

/** Resolves when the head of the reply is here; rejects with a MeshError or the signal's reason. */
export function startCall(
  service: StartingService,
  request: HttpRequest,
  init: CallInit,
  onRetry?: RetryWatcher,
): Promise<HttpReply> {
  const { signal, timeoutMs } = init;
  const call = callOf(service, request, init.idempotent);
  if (onRetry !== undefined) call.onRetry = onRetry;
  if (timeoutMs !== undefined) {
    const at = service.runtime.now() + timeoutMs;
    call.askedUntil = at;
    if (at < call.deadlineAt) {
      call.deadlineAt = at;
      call.deadlineFrom = "call";
      call.uncharged = false;
    }
  }
  if (request.streamed) return cancelling(service, call, signal ?? undefined);
  return signal === undefined || signal === null
    ? replyTo(service, call)
    : abortable(service, call, signal);
}

async function cancelling(
  service: StartingService,
  call: Call<HttpRequest>,
  signal: AbortSignal | undefined,
): Promise<HttpReply> {
  try {
    return await (signal === undefined ? replyTo(service, call) : abortable(service, call, signal));
  } catch (error) {
    cancelUnread(call.request.body, error);
    throw error;
  }
}

/** The Call of a request, with what it inherits from the request being served, not started. */
export function callOf(
  service: StartingService,
  request: HttpRequest,
  vouched: boolean | undefined,
): Call<HttpRequest> {
  const idempotent = vouched ?? (isIdempotent(request.method) || request.hasIdempotencyKey);
  request.toPeer = service.config.peer;
  const call = new Call(service.name, request, idempotent, true);
  if (request.streamed || request.leased) call.exclusive = true;
  call.traceId = request.traceId;
  const served = context.getStore();
  if (served !== undefined) {
    if (inheritFrom(served, call, service.runtime.now())) {
      served.adopt(call);
      request.inherit(served);
    }
    // Two trace headers would contradict each other.
    if (!tracedByOthers(request, service.config)) request.inheritTrace(served);
    call.traceId ??= served.traceId;
  }
  return call;
}

/**
 * Sends a call whose request checks no connection out, so that what comes is a reply
 * (`HttpConnection.send`). To look at it would cost every call a promise.
 */
export function replyTo(
  service: Pick<HttpService, "current">,
  call: Call<HttpRequest>,
): Promise<HttpReply> {
  return service.current(call) as Promise<HttpReply>;
}

async function abortable(
  service: StartingService,
  call: Call<HttpRequest>,
  signal: AbortSignal,
): Promise<HttpReply> {
  if (signal.aborted) throw signal.reason;
  const abort = (): void =>
    call.cancel(
      stacklessError(
        "cancelled",
        "caller",
        "maybe-processed",
        `${call.service}: aborted by the caller`,
        signal.reason,
      ),
      "abandoned",
    );
  signal.addEventListener("abort", abort, { once: true });
  call.onEnd = () => signal.removeEventListener("abort", abort);
  try {
    return await replyTo(service, call);
  } catch (error) {
    throw surfaced(error);
  }
}
