/** `http.server.request.duration` of this server. */
import type { StandardDuration } from "@inmesh/core/spi";
import { HTTP_1_0, HTTP_1_1, HTTP_2, serverDurationOf } from "../standard.ts";
import type { Inbound } from "./inbound.ts";

/** `secure`: of a server that speaks TLS; `instrumented`: what its listeners get is recorded elsewhere too. */
export function serverDuration(secure: boolean, instrumented: boolean): StandardDuration<Inbound> {
  return {
    ...serverDurationOf<Inbound>(secure, versionOf),
    countedElsewhere: () => instrumented,
  };
}

function versionOf({ http2, request }: Inbound): number {
  if (http2) return HTTP_2;
  return request.httpVersionMinor === 0 ? HTTP_1_0 : HTTP_1_1;
}
