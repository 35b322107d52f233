/** What may be done with an endpoint, in the one set of words that metrics, the admin API and the commands use. */
import type { Reply } from "../call.ts";
import type { Endpoint } from "./endpoint.ts";
import { LIST_DOWN, LIST_DRAINING, LIST_EJECTED, LIST_ENDING, LIST_SPARE } from "./lists.ts";

/** In docs/vocabulary.md, with what each says. */
export const ENDPOINT_STATES = [
  "available",
  "connecting",
  "busy",
  "half-open",
  "open",
  "refusing",
  "draining",
  "spare",
] as const;

export type EndpointState = (typeof ENDPOINT_STATES)[number];

/** `now`: instant of the runtime. One that nothing has been sent to yet is available. */
export function endpointState<Req, R extends Reply>(
  endpoint: Endpoint<Req, R>,
  now: number,
): EndpointState {
  switch (endpoint.list) {
    case LIST_DRAINING:
    case LIST_ENDING:
      return "draining";
    case LIST_DOWN:
      return "refusing";
    case LIST_EJECTED:
      return "open";
  }
  if (endpoint.breaker.state === "half-open") return "half-open";
  if (endpoint.busyUntil > now) return "busy";
  if (endpoint.connection?.connected === false && endpoint.unsent > 0) return "connecting";
  return endpoint.list === LIST_SPARE ? "spare" : "available";
}
