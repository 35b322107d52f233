/** What a source gives is looked at before it is used: a wrong type would show first in the middle of a call. */
import { hostRule, readSocket } from "../config/address.ts";
import type { EndpointInfo } from "../endpoint-info.ts";

/** What is wrong with the first entry that is no endpoint, in words; undefined: nothing is. */
export function checkEndpointInfos(given: readonly EndpointInfo[]): string | undefined {
  const list: unknown = given;
  if (!Array.isArray(list)) return "something that is no list of endpoints";
  for (const [i, info] of list.entries()) {
    const wrong = wrongWith(info);
    if (wrong !== undefined) return `an endpoint [${i}] that ${wrong}`;
  }
  return undefined;
}

function wrongWith(info: unknown): string | undefined {
  if (typeof info !== "object" || info === null) return "is no object";
  const { host, port, weight, zone, forZones, uid, draining, serving, http2 } = info as Record<
    string,
    unknown
  >;
  if (typeof host !== "string") return "has no text as host";
  const isSocket = host.startsWith("unix:");
  const rule = isSocket ? readSocket(host) : hostRule(host);
  if (typeof rule === "string") return `has a host that ${rule}`;
  const ports = isSocket ? [0, 0] : [1, 65_535];
  if (!Number.isInteger(port) || Number(port) < ports[0]! || Number(port) > ports[1]!) {
    return isSocket ? "has a port beside a socket: it must be 0" : "has no port from 1 to 65535";
  }
  if (weight !== undefined && !(typeof weight === "number" && weight >= 0 && weight < Infinity)) {
    return "has a weight that is no number from 0 up";
  }
  if (zone !== undefined && typeof zone !== "string") return "has a zone that is no text";
  if (forZones !== undefined && !isTexts(forZones))
    return "has a forZones that is no list of texts";
  if (uid !== undefined && typeof uid !== "string") return "has a uid that is no text";
  if (draining !== undefined && typeof draining !== "boolean") {
    return "has a draining that is neither true nor false";
  }
  if (serving !== undefined && typeof serving !== "boolean") {
    return "has a serving that is neither true nor false";
  }
  if (http2 !== undefined && typeof http2 !== "boolean") {
    return "has an http2 that is neither true nor false";
  }
  return undefined;
}

function isTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every((one) => typeof one === "string");
}
