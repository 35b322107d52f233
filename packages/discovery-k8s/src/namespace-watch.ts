/**
 * The services of one namespace, served by one watch of all its slices. Where the API server refuses that, each
 * Service has a watch of its own. Each subscriber gets the newest state, never a queue of states (faults.md D13).
 */
import type {
  DiscoveryMesh,
  EndpointInfo,
  EndpointSink,
  EndpointWatch,
  Runtime,
  Timer,
} from "@inmesh/core/spi/discovery";
import { ApiClient } from "./api-client.ts";
import type { ApiError } from "./api-error.ts";
import type { Access } from "./credentials.ts";
import { endpointsOf } from "./endpoints.ts";
import { SliceStore } from "./slice-store.ts";
import { SliceWatch } from "./slice-watch.ts";

/** News that follow within this time are passed on as one, so that work does not grow with their rate. */
const GATHER_MS = 100;

/** Where the endpoints of a Service are reported to. */
export interface SliceSink extends EndpointSink {
  /** No slice of the Service exists. Default: as `replace` without endpoints. */
  noSlices?(why: string): void;
}

interface Subscriber {
  readonly service: string;
  readonly port: string;
  readonly sink: SliceSink;
  /** What was reported, by address; undefined: nothing yet. */
  reported: ReadonlyMap<string, EndpointInfo> | undefined;
  /** The last report was an error. */
  failing: boolean;
}

/** What feeds a store: the whole namespace, or one Service of it. */
interface Feed {
  readonly api: ApiClient;
  readonly store: SliceStore;
  readonly watch: SliceWatch;
  isCurrent: boolean;
  error: ApiError | undefined;
}

export class NamespaceWatch {
  readonly #namespace: string;
  readonly #access: Access;
  readonly #runtime: Runtime;
  readonly #subscribers = new Map<string, Set<Subscriber>>();
  /** By Service; under the empty name that of the whole namespace. */
  readonly #feeds = new Map<string, Feed>();
  /** The whole namespace may not be watched. */
  #narrow = false;
  readonly #dirty = new Set<string>();
  #pause: Timer | undefined = undefined;

  constructor(namespace: string, access: Access, { runtime }: Pick<DiscoveryMesh, "runtime">) {
    this.#namespace = namespace;
    this.#access = access;
    this.#runtime = runtime;
  }

  /** The Service itself, which RBAC may forbid. */
  async serviceNamed(name: string): Promise<unknown> {
    // The connection of the watch is in use for as long as it is open.
    const api = new ApiClient(this.#access, this.#runtime);
    try {
      const namespace = encodeURIComponent(this.#namespace);
      return await api.get(`/api/v1/namespaces/${namespace}/services/${name}`, this.#namespace);
    } finally {
      api.close();
    }
  }

  subscribe(service: string, port: string, sink: SliceSink): EndpointWatch {
    const one: Subscriber = { service, port, sink, reported: undefined, failing: false };
    let all = this.#subscribers.get(service);
    if (all === undefined) this.#subscribers.set(service, (all = new Set()));
    all.add(one);
    const feed = this.#feedOf(service);
    if (feed.isCurrent) this.#report(one, feed);
    else if (feed.error !== undefined) fail(one, feed.error);
    let stopped = false;
    return {
      refresh: () => {
        if (!stopped) this.#feeds.get(this.#narrow ? service : "")?.watch.refresh();
      },
      stop: () => {
        if (stopped) return;
        stopped = true;
        this.#leave(one, all);
      },
    };
  }

  #leave(one: Subscriber, all: Set<Subscriber>): void {
    all.delete(one);
    if (all.size > 0) return;
    this.#subscribers.delete(one.service);
    this.#dirty.delete(one.service);
    if (this.#narrow) this.#end(one.service);
    if (this.#subscribers.size > 0) return;
    this.#end("");
    // The rules may have changed when the next service comes.
    this.#narrow = false;
    this.#pause?.cancel();
    this.#pause = undefined;
  }

  #end(name: string): void {
    const feed = this.#feeds.get(name);
    this.#feeds.delete(name);
    feed?.watch.stop();
    feed?.api.close();
  }

  #feedOf(service: string): Feed {
    const name = this.#narrow ? service : "";
    let feed = this.#feeds.get(name);
    if (feed === undefined) this.#feeds.set(name, (feed = this.#begin(name)));
    return feed;
  }

  #begin(name: string): Feed {
    const api = new ApiClient(this.#access, this.#runtime);
    const store = new SliceStore(this.#runtime);
    const watch = new SliceWatch(api, this.#runtime, store, this.#namespace, name, {
      changed: (services) => {
        if (feed.isCurrent) this.#changed(services);
      },
      current: () => {
        const isFirst = !feed.isCurrent;
        feed.isCurrent = true;
        feed.error = undefined;
        for (const one of this.#of(name)) if (isFirst || one.failing) this.#report(one, feed);
      },
      failed: (error) => {
        if (error.status === 403 && name === "" && !feed.isCurrent) return this.#goNarrow();
        feed.error = error;
        for (const one of this.#of(name)) fail(one, error);
      },
    });
    const feed: Feed = { api, store, watch, isCurrent: false, error: undefined };
    return feed;
  }

  /** Those that a feed serves. */
  *#of(name: string): Generator<Subscriber> {
    for (const [service, all] of this.#subscribers) {
      if (name === "" || name === service) yield* all;
    }
  }

  #goNarrow(): void {
    this.#end("");
    this.#narrow = true;
    for (const service of this.#subscribers.keys()) this.#feedOf(service);
  }

  #changed(services: ReadonlySet<string>): void {
    for (const service of services) if (this.#subscribers.has(service)) this.#dirty.add(service);
    if (this.#pause === undefined && this.#dirty.size > 0) this.#flush();
  }

  #flush(): void {
    this.#pause = this.#runtime.after(GATHER_MS, () => this.#again(), undefined);
    const services = [...this.#dirty];
    this.#dirty.clear();
    for (const service of services) {
      const feed = this.#feeds.get(this.#narrow ? service : "");
      if (feed === undefined) continue;
      for (const one of this.#subscribers.get(service) ?? []) this.#report(one, feed);
    }
  }

  #again(): void {
    this.#pause = undefined;
    if (this.#dirty.size > 0) this.#flush();
  }

  #report(one: Subscriber, { store }: Feed): void {
    const name = `${this.#namespace}/${one.service}`;
    const { endpoints, why, wrongPort, isUnknown } = endpointsOf(
      store.of(one.service),
      one.port,
      name,
    );
    if (wrongPort !== undefined) return fail(one, wrongPort);
    one.failing = false;
    if (isUnknown && one.sink.noSlices !== undefined) {
      one.reported = undefined;
      return one.sink.noSlices(why!);
    }
    const before = one.reported;
    one.reported = endpoints;
    if (before === undefined || endpoints.size === 0) {
      return one.sink.replace([...endpoints.values()], why);
    }
    const upserted: EndpointInfo[] = [];
    const removed: EndpointInfo[] = [];
    for (const [address, info] of endpoints) {
      const known = before.get(address);
      if (known === info) continue;
      // Another pod with the same address is another endpoint.
      if (known !== undefined && known.uid !== info.uid) removed.push(known);
      if (known === undefined || !isSame(known, info)) upserted.push(info);
    }
    for (const [address, info] of before) if (!endpoints.has(address)) removed.push(info);
    // Also without a difference: it says that the source works again.
    one.sink.change(upserted, removed);
  }
}

function fail(one: Subscriber, error: Error): void {
  one.failing = true;
  one.sink.failed(error);
}

function isSame(a: EndpointInfo, b: EndpointInfo): boolean {
  return (
    a.uid === b.uid &&
    a.draining === b.draining &&
    a.zone === b.zone &&
    a.metadata?.["pod"] === b.metadata?.["pod"] &&
    a.metadata?.["node"] === b.metadata?.["node"] &&
    a.metadata?.["appProtocol"] === b.metadata?.["appProtocol"]
  );
}
