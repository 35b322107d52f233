/** `http.server.request.duration`: one for each request, as `inmesh.calls` counts them. */
import { knownMethod, type StandardDuration } from "@inmesh/core/spi";
import {
  attributesOf,
  HTTP_1_0,
  HTTP_1_1,
  HTTP_2,
  numberOf,
  SERVER_DURATION,
} from "../standard.ts";
import type { Inbound } from "./inbound.ts";

/**
 * `secure`: of a server that speaks TLS; `instrumented`: what its listeners get is recorded elsewhere too. Routes
 * are the handler's own, so there is no `http.route`.
 */
export function serverDuration(secure: boolean, instrumented: boolean): StandardDuration<Inbound> {
  const scheme = { "url.scheme": secure ? "https" : "http" };
  return {
    instrument: SERVER_DURATION,
    methodOf: ({ method }) => knownMethod(method),
    numberOf: (inbound) => numberOf(inbound.endStatus, versionOf(inbound)),
    attributesOf: (method, number, reason) => ({
      ...scheme,
      ...attributesOf(method, number, reason, 500),
    }),
    countedElsewhere: () => instrumented,
  };
}

function versionOf({ http2, request }: Inbound): number {
  if (http2) return HTTP_2;
  return request.httpVersionMinor === 0 ? HTTP_1_0 : HTTP_1_1;
}
