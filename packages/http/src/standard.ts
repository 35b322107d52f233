/**
 * What clients and servers of HTTP have in common under the names of OpenTelemetry's semantic conventions for
 * HTTP metrics. Every value is one of a closed set: a method that is not known is `_OTHER`, and a status that is
 * not registered is what it has to be treated as (RFC 9110, section 15): the `x00` of its class.
 *
 * https://opentelemetry.io/docs/specs/semconv/http/http-metrics/
 */
import type { Instrument, Labels } from "@inmesh/core/spi";

/** The limits that the conventions give. */
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

type Duration = Instrument & { readonly bounds: readonly number[] };

export const CLIENT_DURATION: Duration = {
  name: "http.client.request.duration",
  unit: "s",
  description: "Duration of HTTP client requests.",
  bounds: SECONDS,
};

export const SERVER_DURATION: Duration = {
  name: "http.server.request.duration",
  unit: "s",
  description: "Duration of HTTP server requests.",
  bounds: SECONDS,
};

/** For what is in none of the sets. */
export const OTHER = "_OTHER";

/** Those of RFC 9110, PATCH (RFC 5789) and QUERY. Methods are case-sensitive. */
export function knownMethod(method: string): string {
  switch (method) {
    case "GET":
    case "POST":
    case "PUT":
    case "DELETE":
    case "HEAD":
    case "OPTIONS":
    case "PATCH":
    case "CONNECT":
    case "TRACE":
    case "QUERY":
      return method;
    default:
      return OTHER;
  }
}

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
