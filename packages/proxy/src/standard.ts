/** Durations of the proxy's requests under OpenTelemetry's names: the same as those of the library. */
import {
  knownMethod,
  serverPort,
  type Attempt,
  type ServiceConfig,
  type StandardDuration,
} from "@inmesh/core/spi";
import {
  attributesOf,
  CLIENT_DURATION,
  HTTP_1_0,
  HTTP_1_1,
  HTTP_2,
  numberOf,
  SERVER_DURATION,
} from "@inmesh/http/spi/codec";
import type { ProxyRequest } from "./request.ts";

/** `http.server.request.duration`: one for each request of a listener. `secure`: it speaks TLS. */
export function serverDuration(secure: boolean): StandardDuration<ProxyRequest> {
  const scheme = { "url.scheme": secure ? "https" : "http" };
  return {
    instrument: SERVER_DURATION,
    methodOf: ({ method }) => knownMethod(method),
    numberOf: ({ endStatus, httpVersion }) => numberOf(endStatus, versionOf(httpVersion)),
    attributesOf: (method, number, reason) => ({
      ...scheme,
      ...attributesOf(method, number, reason, 500),
    }),
  };
}

/** `http.client.request.duration`: one for each attempt. */
export function clientDuration(config: ServiceConfig): StandardDuration<Attempt<ProxyRequest>> {
  const service = {
    "server.address": config.name,
    "server.port": serverPort(config),
    "url.scheme": config.scheme,
  };
  return {
    instrument: CLIENT_DURATION,
    methodOf: ({ call }) => knownMethod(call.request.method),
    numberOf: ({ code, wireVersion }) => numberOf(code, wireVersion),
    attributesOf: (method, number, reason) => ({
      ...service,
      ...attributesOf(method, number, reason, 400),
    }),
  };
}

function versionOf(version: string): number {
  if (version === "2") return HTTP_2;
  return version === "1.0" ? HTTP_1_0 : HTTP_1_1;
}
