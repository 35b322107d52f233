/**
 * What clients and servers of HTTP have in common under the names of OpenTelemetry's semantic conventions for
 * HTTP metrics. Every value is one of a closed set: a method that is not known is `_OTHER`, and a status that is
 * not registered is what it has to be treated as (RFC 9110, section 15): the `x00` of its class.
 *
 * https://opentelemetry.io/docs/specs/semconv/http/http-metrics/
 */
import { STANDARD_SECONDS, type Histogrammed, type Labels } from "@inmesh/core/spi";

export const CLIENT_DURATION: Histogrammed = {
  name: "http.client.request.duration",
  unit: "s",
  description: "Duration of HTTP client requests.",
  bounds: STANDARD_SECONDS,
};

export const SERVER_DURATION: Histogrammed = {
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
export function numberOf(status: number, version: number): number {
  const known = status === 0 ? 0 : (STATUSES[status] ?? INVALID);
  return (known === 0 && status !== 0 ? INVALID : known) * VERSIONS.length + version;
}

/** `failsFrom`: the status from which one is an error, 400 for clients and 500 for servers. */
export function attributesOf(
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
