/** `http.client.request.duration`: one for each attempt, because each is a request on the wire. */
import {
  knownMethod,
  serverPort,
  type Attempt,
  type ServiceConfig,
  type StandardDuration,
} from "@inmesh/core/spi";
import { areRequestsInstrumented, isUndiciInstrumented } from "../instrumented.ts";
import { attributesOf, CLIENT_DURATION, HTTP_2, numberOf } from "../standard.ts";
import type { HttpRequest } from "./request.ts";

export function clientDuration(config: ServiceConfig): StandardDuration<Attempt<HttpRequest>> {
  const { name, scheme, http2 } = config;
  const service = {
    "server.address": name,
    "server.port": serverPort(config),
    "url.scheme": scheme,
  };
  return {
    instrument: CLIENT_DURATION,
    methodOf: ({ call }) => knownMethod(call.request.method),
    numberOf: ({ code, wireVersion }) => numberOf(code, wireVersion),
    attributesOf: (method, number, reason) => ({
      ...service,
      ...attributesOf(method, number, reason, 400),
    }),
    /** HTTP/2 is not undici's here: no instrumentation sees it. */
    countedElsewhere({ call, wireVersion }) {
      if (call.request.leased) return areRequestsInstrumented();
      if (wireVersion === HTTP_2 || (wireVersion === 0 && http2)) return false;
      return isUndiciInstrumented();
    },
  };
}
