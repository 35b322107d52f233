/** What the observers of a mesh are told of a request that its server serves. */
import type { Observers, Outcome } from "@inmesh/core/spi";
import { classify } from "../client/classify.ts";
import type { Inbound } from "./inbound.ts";
import type { Refusal } from "./refusals.ts";

/** Its head has been read, and what the handler must not see is out of it. */
export function observeRequest(observers: Observers, server: string, inbound: Inbound): void {
  const { request } = inbound;
  inbound.observed = observers.servedStarted({
    protocol: "http",
    server,
    method: request.method ?? "",
    path: withoutQuery(request.url ?? ""),
    header: (name) => {
      const value = request.headers[name];
      return Array.isArray(value) ? value[0] : value;
    },
    request: inbound,
  });
}

/** Its reply is out, or its connection has gone. Without effect if it was refused or cut short before. */
export function observeEnd({ observed, response }: Inbound): void {
  if (observed === undefined) return;
  const { statusCode } = response;
  if (response.writableEnded) observed.ended(classify(statusCode, false), statusCode, undefined);
  else observed.ended("abandoned", response.headersSent ? statusCode : undefined, undefined);
}

export function outcomeOfRefusal({ reason, nack, status }: Refusal): Outcome {
  if (reason === "expired_on_arrival") return "timeout";
  return nack ? "overloaded" : classify(status, false);
}

function withoutQuery(url: string): string {
  const end = url.indexOf("?");
  return end < 0 ? url : url.slice(0, end);
}
