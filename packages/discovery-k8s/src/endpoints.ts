/**
 * The endpoints of a service, from all its slices: one for each pod and port. An address may stand in two slices
 * while the controller moves it, and a pod of a dual-stack Service in one slice for each family. What a change costs
 * depends on the slices that have changed, and not on the thousands of endpoints in the others (faults.md D11).
 */
import { addressOf, type EndpointInfo } from "@inmesh/core/spi/discovery";
import type { Slice, SliceEndpoint, SlicePort } from "./slice.ts";

/** https://kubernetes.io/docs/concepts/services-networking/service/#application-protocol */
const H2C = "kubernetes.io/h2c";

export interface ServiceState {
  /** By address, and always the same map. An endpoint that did not change is the same object as before. */
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
  /** The family whose address is used of a pod that has one of each. */
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
}

/** What the endpoints of one service are, as its slices change. */
export class ServiceEndpoints {
  readonly #wanted: Wanted;
  /** As they were taken in. */
  #slices: ReadonlyMap<string, Slice> = new Map();
  /** The entries for one pod and port. */
  readonly #entries: Choices;
  /** The entry that counts, of each pod and port. */
  readonly #chosen = new Map<string, Found>();
  /** The same by address: a pod that goes and the next one may have the same. */
  readonly #atAddress: Choices;
  #ready = 0;
  readonly #infos = new Map<string, EndpointInfo>();
  /** What was there when `changes` was last asked, by the addresses that have changed since. */
  readonly #before = new Map<string, EndpointInfo | undefined>();

  constructor(wanted: Wanted) {
    this.#wanted = wanted;
    this.#entries = new Choices(wanted.family);
    this.#atAddress = new Choices(wanted.family);
  }

  /** A step for each endpoint that is looked at. To be run to its end, one after the other. */
  *update(slices: Iterable<Slice>): Generator<undefined, ServiceState> {
    const now = new Map<string, Slice>();
    for (const slice of slices) {
      if (slice.problem !== undefined) return failing(new Error(slice.problem));
      now.set(slice.name, slice);
    }
    const touched = new Set<string>();
    for (const slice of this.#slices.values()) {
      if (now.get(slice.name) !== slice) yield* this.#leave(slice, touched);
    }
    for (const slice of now.values()) {
      if (this.#slices.get(slice.name) !== slice) yield* this.#enter(slice, touched);
    }
    this.#slices = now;
    yield* this.#choose(touched);
    return this.#state();
  }

  /** Since it was last asked. */
  changes(): {
    readonly upserted: readonly EndpointInfo[];
    readonly removed: readonly EndpointInfo[];
  } {
    const upserted: EndpointInfo[] = [];
    const removed: EndpointInfo[] = [];
    for (const [address, before] of this.#before) {
      const now = this.#infos.get(address);
      // Another pod with the same address is another endpoint.
      if (before !== undefined && before.uid !== now?.uid) removed.push(before);
      else if (before !== undefined && now === undefined) removed.push(before);
      if (now !== undefined && (before === undefined || !isSame(before, now))) upserted.push(now);
    }
    this.#before.clear();
    return { upserted, removed };
  }

  *#leave(slice: Slice, touched: Set<string>): Generator<undefined, void> {
    const port = portOf(slice.ports, this.#wanted.port);
    if (port === undefined) return;
    for (const endpoint of slice.endpoints) {
      const identity = identityOf(endpoint, port);
      this.#entries.remove(identity, endpoint);
      touched.add(identity);
      yield;
    }
  }

  *#enter(slice: Slice, touched: Set<string>): Generator<undefined, void> {
    const port = portOf(slice.ports, this.#wanted.port);
    if (port === undefined) return;
    for (const endpoint of slice.endpoints) {
      const identity = identityOf(endpoint, port);
      const address = addressOf({ host: endpoint.address, port: port.port });
      this.#entries.add(identity, { endpoint, port, slice, identity, address });
      touched.add(identity);
      yield;
    }
  }

  /** Of each pod that has changed the entry that counts, and what follows for its addresses. */
  *#choose(touched: ReadonlySet<string>): Generator<undefined, void> {
    const hadReady = this.#ready > 0;
    const addresses = new Set<string>();
    for (const identity of touched) {
      yield;
      const before = this.#chosen.get(identity);
      const now = this.#entries.best(identity);
      if (before === now) continue;
      if (before !== undefined) {
        this.#atAddress.remove(before.address, before.endpoint);
        addresses.add(before.address);
        if (isReady(before)) this.#ready--;
      }
      if (now === undefined) {
        this.#chosen.delete(identity);
        continue;
      }
      this.#chosen.set(identity, now);
      this.#atAddress.add(now.address, now);
      addresses.add(now.address);
      if (isReady(now)) this.#ready++;
    }
    const hasReady = this.#ready > 0;
    // What serves without being ready is used while nothing is ready.
    const all = hasReady === hadReady ? [] : this.#atAddress.keys();
    for (const address of new Set([...addresses, ...all])) {
      yield;
      this.#set(address, infoOf(this.#atAddress.best(address), hasReady));
    }
  }

  #set(address: string, now: EndpointInfo | undefined): void {
    const known = this.#infos.get(address);
    if (known === now || (known !== undefined && now !== undefined && isSame(known, now))) return;
    if (!this.#before.has(address)) this.#before.set(address, known);
    if (now === undefined) this.#infos.delete(address);
    else this.#infos.set(address, now);
  }

  #state(): ServiceState {
    const { service } = this.#wanted;
    const endpoints = this.#infos;
    if (this.#chosen.size === 0) {
      const wrong = this.#wrongPort();
      if (wrong !== undefined) return failing(wrong);
    }
    const isUnknown = this.#slices.size === 0;
    const why = isUnknown
      ? `no EndpointSlice of the Service ${service} exists: is its name right, and has it a selector?`
      : `no pod of the Service ${service} is ready`;
    return {
      endpoints,
      why: endpoints.size === 0 ? why : undefined,
      problem: undefined,
      isUnknown,
    };
  }

  /** There are endpoints, and none of them has the port. */
  #wrongPort(): PortError | undefined {
    const { service, port } = this.#wanted;
    const ports = new Map<string, SlicePort>();
    let isWrong = false;
    for (const slice of this.#slices.values()) {
      isWrong ||= slice.endpoints.length > 0;
      for (const one of slice.ports) ports.set(one.name === "" ? `${one.port}` : one.name, one);
    }
    if (!isWrong) return undefined;
    const names = [...ports.keys()].toSorted().join(", ") || "none";
    const which = port === "" ? "needs the name of a port" : `has no port ${port}`;
    const text = `the Service ${service} ${which}: its ports are ${names}. Write one of them as port`;
    return new PortError(text, [...ports.values()]);
  }
}

/** Entries by a key that nearly always has one of them, and the best of each. */
class Choices {
  readonly #family: 4 | 6;
  readonly #all = new Map<string, Found | readonly Found[]>();

  constructor(family: 4 | 6) {
    this.#family = family;
  }

  keys(): Iterable<string> {
    return this.#all.keys();
  }

  add(key: string, one: Found): void {
    const known = this.#all.get(key);
    this.#all.set(key, known === undefined ? one : [...listOf(known), one]);
  }

  remove(key: string, endpoint: SliceEndpoint): void {
    const known = this.#all.get(key);
    if (known === undefined) return;
    const rest = listOf(known).filter((one) => one.endpoint !== endpoint);
    if (rest.length === 0) this.#all.delete(key);
    else this.#all.set(key, rest.length === 1 ? rest[0]! : rest);
  }

  best(key: string): Found | undefined {
    const known = this.#all.get(key);
    if (known === undefined || !Array.isArray(known)) return known as Found | undefined;
    return (known as readonly Found[]).reduce((best, one) =>
      isBetter(one, best, this.#family) ? one : best,
    );
  }
}

function listOf(known: Found | readonly Found[]): readonly Found[] {
  return Array.isArray(known) ? (known as readonly Found[]) : [known as Found];
}

function identityOf(endpoint: SliceEndpoint, port: SlicePort): string {
  return `${endpoint.uid ?? endpoint.address}#${port.port}`;
}

function isReady({ endpoint }: Found): boolean {
  return endpoint.ready && !endpoint.terminating;
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
 * Of two entries for one pod and port, or for one address: what is ready, then what serves, then the family that is
 * wanted, then the smaller address, pod and slice, so that the order of slices changes nothing.
 */
function isBetter(one: Found, other: Found, family: 4 | 6): boolean {
  const [a, b] = [one.endpoint, other.endpoint];
  if (a.ready !== b.ready) return a.ready;
  if (a.serving !== b.serving) return a.serving;
  if (a.terminating !== b.terminating) return !a.terminating;
  const isSix = a.address.includes(":");
  if (isSix !== b.address.includes(":")) return isSix === (family === 6);
  if (a.address !== b.address) return a.address < b.address;
  if (one.identity !== other.identity) return one.identity < other.identity;
  return one.slice.name < other.slice.name;
}

/**
 * Ready ones; those that terminate, as draining, and with nothing else ready also those that serve without being ready.
 * What terminates and does not serve any more is said not to serve, which keeps all calls from it.
 */
function infoOf(found: Found | undefined, hasReady: boolean): EndpointInfo | undefined {
  if (found === undefined) return undefined;
  const { endpoint, port, slice } = found;
  const { address, zone, uid, pod, node, forZones, ready, serving, terminating } = endpoint;
  if (!terminating && !ready && (hasReady || !serving)) return undefined;
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
    ...(terminating && { draining: true }),
    ...(terminating && !serving && { serving: false }),
    metadata,
  };
}

function isSame(a: EndpointInfo, b: EndpointInfo): boolean {
  return (
    a.uid === b.uid &&
    a.draining === b.draining &&
    a.serving === b.serving &&
    a.zone === b.zone &&
    a.weight === b.weight &&
    a.http2 === b.http2 &&
    a.forZones?.join() === b.forZones?.join() &&
    isSameMetadata(a.metadata, b.metadata)
  );
}

function isSameMetadata(
  a: EndpointInfo["metadata"] = {},
  b: EndpointInfo["metadata"] = {},
): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}
