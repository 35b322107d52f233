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
}

export interface Slice {
  readonly name: string;
  readonly service: string;
  readonly version: string;
  readonly ports: readonly SlicePort[];
  readonly endpoints: readonly SliceEndpoint[];
  /** Endpoints that were left out because their address is none, or is a DNS name. */
  readonly unusable: number;
}

export const SERVICE_LABEL = "kubernetes.io/service-name";
/** The API's own limit for one slice. */
const MAX_ENDPOINTS = 1_000;
const MAX_PORTS = 100;

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
  const labels = (object["metadata"] as Json)["labels"];
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
    unusable: given.length - endpoints.length,
  };
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
  };
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
