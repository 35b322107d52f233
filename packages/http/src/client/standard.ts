/** `http.client.request.duration` of this client, and which of its requests another instrumentation records. */
import type { Attempt, ServiceConfig, StandardDuration } from "@inmesh/core/spi";
import { areRequestsInstrumented, isUndiciInstrumented } from "../instrumented.ts";
import { clientDurationOf, HTTP_2 } from "../standard.ts";
import type { HttpRequest } from "./request.ts";

export function clientDuration(config: ServiceConfig): StandardDuration<Attempt<HttpRequest>> {
  const { http2 } = config;
  return {
    ...clientDurationOf<HttpRequest>(config),
    /** HTTP/2 is not undici's here: no instrumentation sees it. */
    countedElsewhere({ call, wireVersion }) {
      if (call.request.leased) return areRequestsInstrumented();
      if (wireVersion === HTTP_2 || (wireVersion === 0 && http2)) return false;
      return isUndiciInstrumented();
    },
  };
}
