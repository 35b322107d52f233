/** `http.client.request.duration`: one for each attempt, because each is a request on the wire. */
import type { Attempt, ServiceConfig, StandardDuration } from "@inmesh/core/spi";
import { areRequestsInstrumented, isUndiciInstrumented } from "../instrumented.ts";
import { attributesOf, CLIENT_DURATION, HTTP_2, knownMethod, numberOf } from "../standard.ts";
import type { HttpRequest } from "./request.ts";

const DEFAULT_PORTS = { http: "80", https: "443" } as const;

export function clientDuration({
  name,
  scheme,
  authority,
  http2,
}: ServiceConfig): StandardDuration<Attempt<HttpRequest>> {
  const port = /:(\d+)$/.exec(authority)?.[1] ?? DEFAULT_PORTS[scheme];
  const service = { "server.address": name, "server.port": port, "url.scheme": scheme };
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
