/**
 * The services of one namespace, served by one watch of all its slices. Where the API server refuses that, each
 * Service has a watch of its own. Each subscriber gets the newest state, never a queue of states (faults.md D13).
 */
import type { DiscoveryMesh, EndpointWatch, Runtime, Timer } from "@inmesh/core/spi/discovery";
import { ApiClient } from "./api-client.ts";
import type { ApiError } from "./api-error.ts";
import type { Access } from "./credentials.ts";
import { externalName, type NamedElsewhere } from "./external-name.ts";
import { SliceStore } from "./slice-store.ts";
import { SliceWatch } from "./slice-watch.ts";
import { Subscriber, type SliceSink } from "./subscriber.ts";

/** News that follow within this time are passed on as one, so that work does not grow with their rate. */
const GATHER_MS = 100;

/** What feeds a store: the whole namespace, or one Service of it. */
interface Feed {
  readonly api: ApiClient;
  readonly store: SliceStore;
  readonly watch: SliceWatch;
  isCurrent: boolean;
  error: ApiError | undefined;
}

/** What gets slices as they are, and not the endpoints that follow from them. */
interface Listener {
  /** Empty: of all services. */
  readonly service: string;
  /** `changed` undefined: everything may have changed. */
  readonly heard: (store: SliceStore, changed: ReadonlySet<string> | undefined) => void;
  /** The slices of all services may not be read. */
  readonly refused: (error: Error) => void;
}

export class NamespaceWatch {
  readonly #namespace: string;
  readonly #access: Access;
  readonly #runtime: Runtime;
  readonly #listeners = new Set<Listener>();
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
      return await api.get(
        `/api/v1/namespaces/${namespace}/services/${encodeURIComponent(name)}`,
        this.#namespace,
      );
    } finally {
      api.close();
    }
  }

  subscribe(service: string, port: string, sink: SliceSink): EndpointWatch {
    const { family } = this.#access;
    const wanted = { service: `${this.#namespace}/${service}`, port, family };
    const one = new Subscriber(wanted, sink, this.#runtime, () => this.#elsewhere(service, port));
    let all = this.#subscribers.get(service);
    if (all === undefined) this.#subscribers.set(service, (all = new Set()));
    all.add(one);
    const feed = this.#feedOf(service);
    if (feed.isCurrent) one.report(feed.store.of(service));
    else if (feed.error !== undefined) one.fail(feed.error);
    let stopped = false;
    return {
      refresh: () => {
        if (!stopped) this.#feeds.get(this.#narrow ? service : "")?.watch.refresh();
      },
      stop: () => {
        if (stopped) return;
        stopped = true;
        one.stop();
        all.delete(one);
        if (all.size === 0) this.#left(service);
      },
    };
  }

  /** Gives the function that ends it. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    const feed = this.#feedFor(listener);
    if (feed?.isCurrent === true) listener.heard(feed.store, undefined);
    return () => {
      this.#listeners.delete(listener);
      if (this.#narrow && !this.#subscribers.has(listener.service)) this.#end(listener.service);
      this.#rest();
    };
  }

  /** Undefined: it wants more than may be read. */
  #feedFor({ service }: Listener): Feed | undefined {
    return this.#narrow && service === "" ? undefined : this.#feedOf(service);
  }

  async #elsewhere(service: string, port: string): Promise<NamedElsewhere> {
    return externalName(() => this.serviceNamed(service), `${this.#namespace}/${service}`, port);
  }

  #left(service: string): void {
    this.#subscribers.delete(service);
    this.#dirty.delete(service);
    const isHeard = [...this.#listeners].some((one) => one.service === service);
    if (this.#narrow && !isHeard) this.#end(service);
    this.#rest();
  }

  /** Ends what is watched when there is neither a subscriber nor a listener. */
  #rest(): void {
    if (this.#subscribers.size > 0 || this.#listeners.size > 0) return;
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
        if (!feed.isCurrent) return;
        this.#changed(services);
        for (const one of this.#heardBy(name)) one.heard(store, services);
      },
      current: () => {
        const isFirst = !feed.isCurrent;
        feed.isCurrent = true;
        feed.error = undefined;
        for (const [service, one] of this.#of(name)) {
          if (isFirst || one.failing) one.report(store.of(service));
        }
        if (isFirst) for (const one of this.#heardBy(name)) one.heard(store, undefined);
      },
      failed: (error) => {
        if (error.status === 403 && name === "" && !feed.isCurrent) return this.#goNarrow(error);
        feed.error = error;
        for (const [, one] of this.#of(name)) one.fail(error);
      },
    });
    const feed: Feed = { api, store, watch, isCurrent: false, error: undefined };
    return feed;
  }

  /** Those that a feed serves. */
  *#of(name: string): Generator<readonly [string, Subscriber]> {
    for (const [service, all] of this.#subscribers) {
      if (name !== "" && name !== service) continue;
      for (const one of all) yield [service, one];
    }
  }

  #heardBy(name: string): readonly Listener[] {
    return [...this.#listeners].filter(({ service }) => name === "" || name === service);
  }

  #goNarrow(error: ApiError): void {
    this.#end("");
    this.#narrow = true;
    for (const service of this.#subscribers.keys()) this.#feedOf(service);
    for (const one of this.#listeners) if (this.#feedFor(one) === undefined) one.refused(error);
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
      const slices = feed.store.of(service);
      for (const one of this.#subscribers.get(service) ?? []) one.report(slices);
    }
  }

  #again(): void {
    this.#pause = undefined;
    if (this.#dirty.size > 0) this.#flush();
  }
}
