/**
 * The endpoints of a service, from all its slices: one for each pod and port. An address may stand in two slices
 * while the controller moves it, and a pod of a dual-stack Service in one slice for each family.
 */
import { addressOf, type EndpointInfo } from "@inmesh/core/spi/discovery";
import type { Slice, SliceEndpoint, SlicePort } from "./slice.ts";

export interface ServiceState {
  readonly endpoints: readonly EndpointInfo[];
  /** Why there are none. */
  readonly why: string | undefined;
  /** The slices have endpoints, but not on the port that is wanted: a mistake, and no empty set. */
  readonly wrongPort: string | undefined;
}

interface Found {
  readonly endpoint: SliceEndpoint;
  readonly port: SlicePort;
}

/** `wanted`: the name or number of the port; empty: the only one. */
export function endpointsOf(
  slices: Iterable<Slice>,
  wanted: string,
  service: string,
): ServiceState {
  const found = new Map<string, Found>();
  const ports = new Set<string>();
  let any = 0;
  let wrong = 0;
  for (const slice of slices) {
    any++;
    const port = portOf(slice.ports, wanted);
    for (const { name, port: number } of slice.ports) ports.add(name === "" ? `${number}` : name);
    if (port === undefined) {
      wrong += slice.endpoints.length;
      continue;
    }
    for (const endpoint of slice.endpoints) {
      const key = `${endpoint.uid ?? endpoint.address}#${port.port}`;
      const known = found.get(key);
      if (known === undefined || isBetter(endpoint, known.endpoint)) {
        found.set(key, { endpoint, port });
      }
    }
  }
  if (found.size === 0 && wrong > 0) {
    const names = [...ports].toSorted().join(", ") || "none";
    const which = wanted === "" ? "needs the name of a port" : `has no port ${wanted}`;
    const wrongPort = `the Service ${service} ${which}: its ports are ${names}. Write kubernetes: ${service}:name`;
    return { endpoints: [], why: undefined, wrongPort };
  }
  const endpoints = inUse([...found.values()]);
  const why =
    any === 0
      ? `no EndpointSlice of the Service ${service} exists: is its name right, and has it a selector?`
      : `no pod of the Service ${service} is ready`;
  return { endpoints, why: endpoints.length === 0 ? why : undefined, wrongPort: undefined };
}

function portOf(ports: readonly SlicePort[], wanted: string): SlicePort | undefined {
  if (wanted === "") return ports.length === 1 ? ports[0] : undefined;
  return (
    ports.find(({ name }) => name === wanted) ?? ports.find(({ port }) => String(port) === wanted)
  );
}

/**
 * Of two entries for one pod and port: what is ready, then what serves, then IPv4, then the smaller address, so that
 * the order of slices changes nothing.
 */
function isBetter(a: SliceEndpoint, b: SliceEndpoint): boolean {
  if (a.ready !== b.ready) return a.ready;
  if (a.serving !== b.serving) return a.serving;
  if (a.terminating !== b.terminating) return !a.terminating;
  const isOther = a.address.includes(":");
  if (isOther !== b.address.includes(":")) return !isOther;
  return a.address < b.address;
}

/** Ready ones, and beside them those that terminate, as draining. With nothing ready, those that still serve. */
function inUse(found: readonly Found[]): readonly EndpointInfo[] {
  const hasReady = found.some(({ endpoint: { ready, terminating } }) => ready && !terminating);
  const infos = new Map<string, EndpointInfo>();
  for (const { endpoint, port } of found) {
    const { ready, serving, terminating } = endpoint;
    const used = hasReady ? ready && !terminating : serving;
    if (!used && !terminating) continue;
    const info = infoOf(endpoint, port, !used);
    const key = addressOf(info);
    // An address that a new pod has already got: the pod that goes is not it any more.
    if (used || !infos.has(key)) infos.set(key, info);
  }
  return [...infos.values()];
}

function infoOf(endpoint: SliceEndpoint, port: SlicePort, draining: boolean): EndpointInfo {
  const { address, zone, uid, pod, node } = endpoint;
  const metadata: Record<string, string> = {};
  if (pod !== undefined) metadata["pod"] = pod;
  if (node !== undefined) metadata["node"] = node;
  if (port.appProtocol !== undefined) metadata["appProtocol"] = port.appProtocol;
  return {
    host: address,
    port: port.port,
    ...(zone !== undefined && { zone }),
    ...(uid !== undefined && { uid }),
    ...(draining && { draining }),
    metadata,
  };
}
