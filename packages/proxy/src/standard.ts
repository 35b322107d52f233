/** Durations of the proxy's requests under OpenTelemetry's names: the same as those of the library. */
import type { StandardDuration } from "@inmesh/core/spi";
import { HTTP_1_0, HTTP_1_1, HTTP_2, serverDurationOf } from "@inmesh/http/spi/codec";
import type { ProxyRequest } from "./request.ts";

/** One for each request of a listener. `secure`: it speaks TLS. */
export function serverDuration(secure: boolean): StandardDuration<ProxyRequest> {
  return serverDurationOf<ProxyRequest>(secure, versionOf);
}

function versionOf({ httpVersion }: ProxyRequest): number {
  if (httpVersion === "2") return HTTP_2;
  return httpVersion === "1.0" ? HTTP_1_0 : HTTP_1_1;
}
