/**
 * What clients and servers of HTTP have in common under the names of OpenTelemetry's semantic conventions for
 * HTTP metrics. Every value is one of a closed set: a method that is not known is `_OTHER`, and a status that is
 * not registered is what it has to be treated as (RFC 9110, section 15): the `x00` of its class.
 *
 * https://opentelemetry.io/docs/specs/semconv/http/http-metrics/
 */
import {
  knownMethod,
  serverPort,
  STANDARD_SECONDS,
  type Attempt,
  type Histogrammed,
  type Labels,
  type ServiceConfig,
  type StandardDuration,
} from "@inmesh/core/spi";

const CLIENT_DURATION: Histogrammed = {
  name: "http.client.request.duration",
  unit: "s",
  description: "Duration of HTTP client requests.",
  bounds: STANDARD_SECONDS,
};

const SERVER_DURATION: Histogrammed = {
  name: "http.server.request.duration",
  unit: "s",
  description: "Duration of HTTP server requests.",
  bounds: STANDARD_SECONDS,
};

/** Versions of HTTP by the number that stands for them. */
const VERSIONS: readonly (string | undefined)[] = [undefined, "1.1", "2", "1.0"];

export const HTTP_1_1 = 1;
export const HTTP_2 = 2;
export const HTTP_1_0 = 3;

/** By status: the one that is written. */
const STATUSES: Uint16Array = new Uint16Array(600);
for (let status = 100; status < 600; status++) {
  const isRegistered = process.getBuiltinModule("node:http").STATUS_CODES[status] !== undefined;
  STATUSES[status] = isRegistered ? status : status - (status % 100);
}
const INVALID = 500;

/** Status and version in one number. `status` 0: there was none. */
function numberOf(status: number, version: number): number {
  const known = status === 0 ? 0 : (STATUSES[status] ?? INVALID);
  return (known === 0 && status !== 0 ? INVALID : known) * VERSIONS.length + version;
}

/** `failsFrom`: the status from which one is an error, 400 for clients and 500 for servers. */
function attributesOf(
  method: string,
  number: number,
  reason: string | undefined,
  failsFrom: number,
): Labels {
  const status = Math.floor(number / VERSIONS.length);
  const version = VERSIONS[number % VERSIONS.length];
  const attributes: Record<string, string> = { "http.request.method": method };
  if (status !== 0) attributes["http.response.status_code"] = String(status);
  const isError = status >= failsFrom || (reason !== undefined && status < 400);
  if (isError) attributes["error.type"] = reason ?? String(status);
  if (version !== undefined) attributes["network.protocol.version"] = version;
  return attributes;
}

/** `http.client.request.duration`: one for each attempt, because each is a request on the wire. */
export function clientDurationOf<Req extends { readonly method: string }>(
  config: ServiceConfig,
): StandardDuration<Attempt<Req>> {
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

/**
 * `http.server.request.duration`: one for each request, as `inmesh.calls` counts them. `secure`: of a server that speaks
 * TLS. `versionOf`: the number that stands for the version of a request. Routes are the handler's own, so there is no
 * `http.route`.
 */
export function serverDurationOf<R extends { readonly method: string; readonly endStatus: number }>(
  secure: boolean,
  versionOf: (request: R) => number,
): StandardDuration<R> {
  const scheme = { "url.scheme": secure ? "https" : "http" };
  return {
    instrument: SERVER_DURATION,
    methodOf: ({ method }) => knownMethod(method),
    numberOf: (request) => numberOf(request.endStatus, versionOf(request)),
    attributesOf: (method, number, reason) => ({
      ...scheme,
      ...attributesOf(method, number, reason, 500),
    }),
  };
}
