/**
 * One EndpointSlice of `discovery.k8s.io/v1`, as far as it is used. What the API server sends is read strictly: an
 * endpoint that cannot be called is left out, an object that is no slice is none, and nothing here throws.
 */
import { isIP } from "node:net";

export interface SlicePort {
  /** Empty where the only port of a Service has no name. */
  readonly name: string;
  readonly port: number;
  readonly appProtocol: string | undefined;
}

export interface SliceEndpoint {
  readonly address: string;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly zone: string | undefined;
  readonly node: string | undefined;
  readonly pod: string | undefined;
  readonly uid: string | undefined;
  /** The zones that it is meant for. */
  readonly forZones: readonly string[] | undefined;
}

export interface Slice {
  readonly name: string;
  readonly service: string;
  readonly version: string;
  readonly ports: readonly SlicePort[];
  readonly endpoints: readonly SliceEndpoint[];
  /** Of all its endpoints; undefined: nothing is said. */
  readonly weight: number | undefined;
  /** What stands under `inmesh.io/` beside the weight. */
  readonly metadata: Readonly<Record<string, string>> | undefined;
  /** What makes it unusable, in words. */
  readonly problem: string | undefined;
  /** Endpoints that were left out because their address is none, or is a DNS name. */
  readonly unusable: number;
}

export const SERVICE_LABEL = "kubernetes.io/service-name";
/** The API's own limit for one slice. */
const MAX_ENDPOINTS = 1_000;
const MAX_PORTS = 100;
const MAX_HINTS = 8;
/** What we read of labels and annotations of a slice. The controller copies labels of a Service to its slices. */
const PREFIX = "inmesh.io/";
const MAX_METADATA = 16;
const MAX_WEIGHT = 10_000;

type Json = Readonly<Record<string, unknown>>;

export const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const textOf = (value: unknown): string | undefined =>
  typeof value === "string" && value !== "" && value.length <= 1_024 ? value : undefined;

/** Name and version of any object of the API; undefined: it is none. */
export function metaOf(
  object: unknown,
): { readonly name: string; readonly version: string } | undefined {
  const meta = isObject(object) ? object["metadata"] : undefined;
  if (!isObject(meta)) return undefined;
  const name = textOf(meta["name"]);
  const version = textOf(meta["resourceVersion"]);
  return name === undefined || version === undefined ? undefined : { name, version };
}

/** Undefined: it is no EndpointSlice. One that belongs to no Service has an empty `service`. */
export function readSlice(object: unknown): Slice | undefined {
  const meta = metaOf(object);
  if (meta === undefined || !isObject(object)) return undefined;
  const { labels, annotations } = object["metadata"] as Json;
  const service = (isObject(labels) ? textOf(labels[SERVICE_LABEL]) : undefined) ?? "";
  const type = object["addressType"];
  if (type !== "IPv4" && type !== "IPv6" && type !== "FQDN") return undefined;
  const family = { IPv4: 4, IPv6: 6, FQDN: -1 }[type];
  const endpoints: SliceEndpoint[] = [];
  const given = listOf(object["endpoints"], MAX_ENDPOINTS);
  for (const one of given) {
    const read = readEndpoint(one, family);
    if (read !== undefined) endpoints.push(read);
  }
  return {
    ...meta,
    service,
    ports: readPorts(object["ports"]),
    endpoints,
    ...readOwn(meta.name, {
      ...(isObject(labels) && labels),
      ...(isObject(annotations) && annotations),
    }),
    unusable: given.length - endpoints.length,
  };
}

/** Labels and annotations of ours; the latter win. */
function readOwn(name: string, written: Json): Pick<Slice, "weight" | "metadata" | "problem"> {
  let weight: number | undefined;
  let metadata: Record<string, string> | undefined;
  let problem: string | undefined;
  let left = MAX_METADATA;
  for (const [key, value] of Object.entries(written)) {
    if (!key.startsWith(PREFIX) || typeof value !== "string") continue;
    const own = key.slice(PREFIX.length);
    if (own !== "weight") {
      if (left-- > 0 && value.length <= 256) (metadata ??= {})[own] = value;
      continue;
    }
    const number = /^\d{1,5}(\.\d{1,6})?$/.test(value) ? Number(value) : NaN;
    if (number <= MAX_WEIGHT) weight = number;
    else {
      const shown = JSON.stringify(value.slice(0, 40));
      problem = `the EndpointSlice ${name} says ${PREFIX}weight: ${shown}, which must be a number from 0 to ${MAX_WEIGHT}`;
    }
  }
  return { weight, metadata, problem };
}

/** Several addresses of one endpoint stand for the same backend: the first is used, as kube-proxy does. */
function readEndpoint(value: unknown, family: number): SliceEndpoint | undefined {
  if (!isObject(value)) return undefined;
  const [address] = listOf(value["addresses"], 1);
  if (typeof address !== "string" || isIP(address) !== family) return undefined;
  const given = value["conditions"];
  const conditions = isObject(given) ? given : {};
  // A missing `ready` means true, and a missing `serving` what `ready` says: so the API defines it.
  const ready = conditions["ready"] !== false;
  const serving = conditions["serving"];
  const target = value["targetRef"];
  const pod = isObject(target) && target["kind"] === "Pod" ? target : {};
  return {
    address,
    ready,
    serving: typeof serving === "boolean" ? serving : ready,
    terminating: conditions["terminating"] === true,
    zone: textOf(value["zone"]),
    node: textOf(value["nodeName"]),
    pod: textOf(pod["name"]),
    uid: textOf(pod["uid"]),
    forZones: readHints(value["hints"]),
  };
}

function readHints(value: unknown): readonly string[] | undefined {
  const zones = isObject(value) ? listOf(value["forZones"], MAX_HINTS) : [];
  const names = zones.flatMap((one) => (isObject(one) ? (textOf(one["name"]) ?? []) : []));
  return names.length === 0 ? undefined : names;
}

function readPorts(value: unknown): readonly SlicePort[] {
  const ports: SlicePort[] = [];
  for (const one of listOf(value, MAX_PORTS)) {
    if (!isObject(one)) continue;
    const { name = "", port, protocol = "TCP", appProtocol } = one;
    if (typeof port !== "number" || !Number.isInteger(port) || port < 1 || port > 65_535) continue;
    if (protocol !== "TCP" || (name !== null && typeof name !== "string")) continue;
    if (ports.some((known) => known.name === (name ?? ""))) continue;
    ports.push({ name: name ?? "", port, appProtocol: textOf(appProtocol) });
  }
  return ports;
}

function listOf(value: unknown, max: number): readonly unknown[] {
  return Array.isArray(value) ? value.slice(0, max) : [];
}
