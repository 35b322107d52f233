/**
 * The endpoints of a service, from all its slices: one for each pod and port. An address may stand in two slices
 * while the controller moves it, and a pod of a dual-stack Service in one slice for each family.
 */
import { addressOf, type EndpointInfo } from "@inmesh/core/spi/discovery";
import type { Slice, SliceEndpoint, SlicePort } from "./slice.ts";

/** https://kubernetes.io/docs/concepts/services-networking/service/#application-protocol */
const H2C = "kubernetes.io/h2c";

export interface ServiceState {
  /** By address. An endpoint that did not change is the same object as before. */
  readonly endpoints: ReadonlyMap<string, EndpointInfo>;
  /** Why there are none. */
  readonly why: string | undefined;
  /** What is wrong with the slices, such as that none has the port that is wanted: a mistake, and no empty set. */
  readonly problem: Error | undefined;
  /** There is not even a slice. */
  readonly isUnknown: boolean;
}

/** What is wanted of the Service. */
export interface Wanted {
  readonly service: string;
  /** Name or number of the port; empty: the only one. */
  readonly port: string;
  /** Which address of a pod is used that has one of each family. */
  readonly family: 4 | 6;
}

/** The Service has no such port, or several where none was named. */
export class PortError extends Error {
  override readonly name = "PortError";
  readonly ports: readonly SlicePort[];

  constructor(message: string, ports: readonly SlicePort[]) {
    super(message);
    this.ports = ports;
  }
}

/** An endpoint of a slice at one of its ports. */
interface Found {
  readonly endpoint: SliceEndpoint;
  readonly port: SlicePort;
  readonly slice: Slice;
  /** Of a pod and port, whatever the address family. */
  readonly identity: string;
  readonly address: string;
  /** Made when first needed: as one that gets calls, and as one that drains. */
  used: EndpointInfo | undefined;
  draining: EndpointInfo | undefined;
}

/**
 * What was made of an endpoint, for as long as its slice is known: a change of one slice then costs little for the
 * thousands of endpoints in the others.
 */
const MADE: WeakMap<SliceEndpoint, Found> = new WeakMap();

/** A step for each endpoint. */
export function* endpointsOf(
  slices: Iterable<Slice>,
  { service, port: wanted, family }: Wanted,
): Generator<undefined, ServiceState> {
  const found = new Map<string, Found>();
  const ports = new Map<string, SlicePort>();
  let any = 0;
  let wrong = 0;
  for (const slice of slices) {
    any++;
    if (slice.problem !== undefined) return failing(new Error(slice.problem));
    const port = portOf(slice.ports, wanted);
    for (const one of slice.ports) ports.set(one.name === "" ? `${one.port}` : one.name, one);
    if (port === undefined) {
      wrong += slice.endpoints.length;
      continue;
    }
    for (const endpoint of slice.endpoints) {
      const one = foundAt(endpoint, port, slice);
      const known = found.get(one.identity);
      if (known === undefined || isBetter(endpoint, known.endpoint, family))
        found.set(one.identity, one);
      yield;
    }
  }
  if (found.size === 0 && wrong > 0) {
    const names = [...ports.keys()].toSorted().join(", ") || "none";
    const which = wanted === "" ? "needs the name of a port" : `has no port ${wanted}`;
    const text = `the Service ${service} ${which}: its ports are ${names}. Write one of them as port`;
    return failing(new PortError(text, [...ports.values()]));
  }
  const endpoints = yield* inUse(found);
  const why =
    any === 0
      ? `no EndpointSlice of the Service ${service} exists: is its name right, and has it a selector?`
      : `no pod of the Service ${service} is ready`;
  const isUnknown = any === 0;
  return { endpoints, why: endpoints.size === 0 ? why : undefined, problem: undefined, isUnknown };
}

function failing(problem: Error): ServiceState {
  return { endpoints: new Map(), why: undefined, problem, isUnknown: false };
}

function portOf(ports: readonly SlicePort[], wanted: string): SlicePort | undefined {
  if (wanted === "") return ports.length === 1 ? ports[0] : undefined;
  return (
    ports.find(({ name }) => name === wanted) ?? ports.find(({ port }) => String(port) === wanted)
  );
}

/**
 * Of two entries for one pod and port: what is ready, then what serves, then the family that is wanted, then the
 * smaller address, so that the order of slices changes nothing.
 */
function isBetter(a: SliceEndpoint, b: SliceEndpoint, family: 4 | 6): boolean {
  if (a.ready !== b.ready) return a.ready;
  if (a.serving !== b.serving) return a.serving;
  if (a.terminating !== b.terminating) return !a.terminating;
  const isSix = a.address.includes(":");
  if (isSix !== b.address.includes(":")) return isSix === (family === 6);
  return a.address < b.address;
}

/**
 * Ready ones; those that terminate, as draining, and with nothing else ready also those that serve without being ready.
 * What terminates and does not serve any more is said not to serve, which keeps all calls from it.
 */
function* inUse(
  found: ReadonlyMap<string, Found>,
): Generator<undefined, ReadonlyMap<string, EndpointInfo>> {
  let hasReady = false;
  for (const { endpoint } of found.values()) hasReady ||= endpoint.ready && !endpoint.terminating;
  const infos = new Map<string, EndpointInfo>();
  for (const one of found.values()) {
    yield;
    const { ready, serving, terminating } = one.endpoint;
    const used = ready || (serving && !hasReady);
    if (used && !terminating) infos.set(one.address, (one.used ??= infoOf(one, false)));
    // An address that a new pod has already got: the pod that goes is not it any more.
    else if (terminating && !infos.has(one.address)) {
      infos.set(one.address, (one.draining ??= infoOf(one, true)));
    }
  }
  return infos;
}

function foundAt(endpoint: SliceEndpoint, port: SlicePort, slice: Slice): Found {
  const made = MADE.get(endpoint);
  if (made?.port === port) return made;
  const one: Found = {
    endpoint,
    port,
    slice,
    identity: `${endpoint.uid ?? endpoint.address}#${port.port}`,
    address: addressOf({ host: endpoint.address, port: port.port }),
    used: undefined,
    draining: undefined,
  };
  MADE.set(endpoint, one);
  return one;
}

function infoOf({ endpoint, port, slice }: Found, draining: boolean): EndpointInfo {
  const { address, zone, uid, pod, node, forZones } = endpoint;
  const { weight } = slice;
  const metadata: Record<string, string> = { ...slice.metadata };
  if (pod !== undefined) metadata["pod"] = pod;
  if (node !== undefined) metadata["node"] = node;
  if (port.appProtocol !== undefined) metadata["appProtocol"] = port.appProtocol;
  return {
    host: address,
    port: port.port,
    ...(zone !== undefined && { zone }),
    ...(forZones !== undefined && { forZones }),
    ...(weight !== undefined && { weight }),
    ...(port.appProtocol === H2C && { http2: true }),
    ...(uid !== undefined && { uid }),
    ...(draining && { draining }),
    ...(draining && !endpoint.serving && { serving: false }),
    metadata,
  };
}
