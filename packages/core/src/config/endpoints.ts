/** Endpoints as people write them: in `static`, in a file of their own, and in kinds of discovery from outside. */
import type * as Zod from "zod";
import { addressOf, type EndpointInfo } from "../endpoint-info.ts";
import { checkWith } from "./check.ts";
import type { KindField } from "./kind.ts";
import { LIMITS } from "./limits.ts";
import type { PathPart } from "./mistakes.ts";
import { isRaw, listOf, type Raw, rawOf, type Report } from "./plain.ts";
import { loadZod, SchemaParts, typed } from "./schema-parts.ts";
import { hostRule, readAddress, readSocket } from "./address.ts";

/** Of an item of a list that is an object. */
export const ENDPOINT_FIELDS: readonly KindField[] = [
  {
    path: "host",
    type: "text",
    defaultText: "must be written",
    rangeText: "a DNS name, an IP address, or `unix:` and an absolute path",
    meaning: "Where the endpoint is.",
  },
  {
    path: "port",
    type: "integer",
    min: 1,
    max: 65_535,
    defaultText: "must be written, except for a socket with a path",
    meaning: "Its port.",
  },
  {
    path: "weight",
    type: "number",
    min: 0,
    max: LIMITS.weight,
    defaultText: "1",
    meaning: "Relative share of calls. 0 beside others: only if nothing else is available.",
    nameElsewhere: "Envoy `load_balancing_weight`",
  },
  {
    path: "zone",
    type: "text",
    defaultText: "none",
    meaning: "Where it stands, for zone-aware balancing.",
    nameElsewhere: "Envoy `locality.zone`",
  },
  {
    path: "uid",
    type: "text",
    defaultText: "none",
    meaning: "Identity besides the address: a recycled address starts afresh.",
  },
  {
    path: "draining",
    type: "boolean",
    defaultText: "`false`",
    meaning:
      "It is about to go: it gets new calls only if no other endpoint is left; calls in progress go on.",
    nameElsewhere: "Envoy `health_status: DRAINING`, Kubernetes `conditions.terminating`",
  },
  {
    path: "metadata",
    type: "object",
    defaultText: "none",
    rangeText: "texts by name",
    meaning: "Free labels; they never leave the process.",
  },
];

/** A list of `host:port`, `unix:/path` or objects. */
export function endpointsSchema(parts: SchemaParts): Zod.ZodArray<Zod.ZodType> {
  const { z } = parts;
  const shape: Record<string, Zod.ZodType> = {};
  for (const field of ENDPOINT_FIELDS) shape[field.path] = parts.leaf(field);
  shape["host"] = z.string(typed("a text"));
  shape["metadata"] = z.record(z.string(), parts.text(), typed("an object with texts"));
  const endpoint = parts.object(shape, "host").meta({
    // A port or a socket, not both.
    oneOf: [
      { required: ["port"] },
      { properties: { host: { type: "string", pattern: "^unix:" } } },
    ],
  });
  const item = z.union(
    [z.string(), endpoint],
    typed("host:port, unix:/path, or an object with host and port"),
  );
  return parts.list(item, LIMITS.endpointsPerList);
}

let made: Zod.ZodType | undefined;

/** Every broken rule of the shape, one by one. */
export function checkEndpoints(input: unknown, report: Report): void {
  made ??= endpointsSchema(new SchemaParts(loadZod()));
  checkWith(made, input, report);
}

/** A list of endpoints; what is wrong is reported and left out. */
export function readEndpoints(
  value: unknown,
  path: readonly PathPart[],
  report: Report,
): EndpointInfo[] {
  const endpoints: EndpointInfo[] = [];
  const seen = new Set<string>();
  for (const [index, item] of listOf(value).entries()) {
    const at = [...path, index];
    const endpoint =
      typeof item === "string" ? readText(item, at, report) : readObject(rawOf(item), at, report);
    if (endpoint === undefined) continue;
    const identity = `${addressOf(endpoint)} ${endpoint.uid ?? ""}`;
    if (seen.has(identity))
      report(at, "must not be listed twice; use weight for a larger share", addressOf(endpoint));
    seen.add(identity);
    endpoints.push(endpoint);
  }
  return endpoints;
}

function readText(
  text: string,
  path: readonly PathPart[],
  report: Report,
): EndpointInfo | undefined {
  const address = text.startsWith("unix:") ? readSocket(text) : readAddress(text);
  if (typeof address !== "string") return address;
  report(path, address, text);
  return undefined;
}

function readObject(raw: Raw, path: readonly PathPart[], report: Report): EndpointInfo | undefined {
  const { weight, zone, uid, draining, metadata } = raw;
  const at = readPlace(raw, path, report);
  if (at === undefined) return undefined;
  return {
    ...at,
    ...(typeof weight === "number" && { weight }),
    ...(typeof zone === "string" && { zone }),
    ...(typeof uid === "string" && { uid }),
    ...(draining === true && { draining }),
    ...(isRaw(metadata) && { metadata: metadata as Record<string, string> }),
  };
}

function readPlace(raw: Raw, path: readonly PathPart[], report: Report): EndpointInfo | undefined {
  const { host, port } = raw;
  if (typeof host !== "string") return undefined;
  if (host.startsWith("unix:")) {
    if (port !== undefined) report([...path, "port"], "is not used with a socket", port);
    const socket = readSocket(host);
    if (typeof socket !== "string") return socket;
    report([...path, "host"], socket, host);
    return undefined;
  }
  if (port === undefined) report([...path, "port"], "must be written: a whole number", port);
  const lower = host.toLowerCase();
  const wrong = host.startsWith("[") ? "must be written without brackets" : hostRule(lower);
  if (wrong !== undefined) report([...path, "host"], wrong, host);
  return wrong === undefined && typeof port === "number" ? { host: lower, port } : undefined;
}
