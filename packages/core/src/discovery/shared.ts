/**
 * One watch of a registry that serves many services: begun with the first of them that is called, ended with
 * the last that falls asleep. Each service has a target, such as its name in the registry.
 */
import type { EndpointInfo } from "../endpoint-info.ts";
import { keyOf } from "./coalesce.ts";
import type { Discovery, EndpointSink, EndpointWatch } from "./discovery.ts";

/** Where the watch of a registry reports to. Targets that no service has may be reported too. */
export interface SharedSink {
  /** As `EndpointSink.replace`, for the services with that target. */
  replace(target: string, endpoints: readonly EndpointInfo[], why?: string): void;
  /** As `EndpointSink.change`. */
  change(target: string, upserted: readonly EndpointInfo[], removed: readonly EndpointInfo[]): void;
  /** Without `target`: the registry knows nothing at the moment. */
  failed(error: Error, target?: string): void;
}

/** What is kept of targets that no service has, for those that may come. Beyond it the registry is asked again. */
const MAX_TARGETS = 10_000;

interface Target {
  readonly sinks: Set<EndpointSink>;
  /** Undefined: nothing has been reported yet. */
  known: Map<string, EndpointInfo> | undefined;
  why: string | undefined;
  error: Error | undefined;
}

export class SharedDiscovery {
  readonly #source: string;
  readonly #start: (sink: SharedSink) => EndpointWatch;
  readonly #targets = new Map<string, Target>();
  #watchers = 0;
  #watch: EndpointWatch | undefined = undefined;
  #running: SharedSink | undefined = undefined;
  #error: Error | undefined = undefined;

  /**
   * `source`: a label of metrics, the name of the kind. `start` begins the watch; it may report before it
   * returns. Its `refresh` is called too when a service comes whose target has not been reported.
   */
  constructor(source: string, start: (sink: SharedSink) => EndpointWatch) {
    this.#source = source;
    this.#start = start;
  }

  /** The source of a service. */
  of(target: string): Discovery {
    return { source: this.#source, watch: (sink) => this.#add(target, sink) };
  }

  #add(name: string, sink: EndpointSink): EndpointWatch {
    const target = this.#target(name);
    target.sinks.add(sink);
    this.#watchers++;
    let stopped = false;
    const stop = (): void => {
      if (stopped) return;
      stopped = true;
      target.sinks.delete(sink);
      this.#watchers--;
      if (this.#watchers === 0) this.#end();
    };
    try {
      if (this.#running === undefined) this.#begin();
      else if (target.known !== undefined) sink.replace([...target.known.values()], target.why);
      else this.#watch?.refresh();
      const error = target.error ?? this.#error;
      if (error !== undefined && !stopped) sink.failed(error);
    } catch (error) {
      stop();
      throw error;
    }
    return { refresh: () => this.#watch?.refresh(), stop };
  }

  #begin(): void {
    const inner: SharedSink = {
      replace: (name, endpoints, why) => {
        if (this.#running === inner) this.#replace(name, endpoints, why);
      },
      change: (name, upserted, removed) => {
        if (this.#running === inner) this.#change(name, upserted, removed);
      },
      failed: (error, name) => {
        if (this.#running === inner) this.#failed(error, name);
      },
    };
    this.#running = inner;
    const watch = this.#start(inner);
    // Every service may have gone while it began.
    if (this.#running === inner) this.#watch = watch;
    else watch.stop();
  }

  #end(): void {
    const watch = this.#watch;
    this.#running = this.#watch = this.#error = undefined;
    this.#targets.clear();
    watch?.stop();
  }

  #target(name: string): Target {
    let target = this.#targets.get(name);
    if (target === undefined) {
      target = { sinks: new Set(), known: undefined, why: undefined, error: undefined };
      this.#targets.set(name, target);
    }
    return target;
  }

  /** Undefined for one that is not kept. */
  #reported(name: string): Target | undefined {
    this.#error = undefined;
    if (!this.#targets.has(name) && this.#targets.size >= MAX_TARGETS) return undefined;
    const target = this.#target(name);
    target.error = undefined;
    return target;
  }

  #replace(name: string, endpoints: readonly EndpointInfo[], why: string | undefined): void {
    const target = this.#reported(name);
    if (target === undefined) return;
    target.known = new Map(endpoints.map((info) => [keyOf(info), info]));
    target.why = why;
    for (const sink of target.sinks) sink.replace(endpoints, why);
  }

  #change(name: string, upserted: readonly EndpointInfo[], removed: readonly EndpointInfo[]): void {
    const target = this.#reported(name);
    if (target === undefined) return;
    if (target.known === undefined) return this.#replace(name, upserted, undefined);
    for (const info of removed) target.known.delete(keyOf(info));
    for (const info of upserted) target.known.set(keyOf(info), info);
    target.why = undefined;
    for (const sink of target.sinks) sink.change(upserted, removed);
  }

  #failed(error: Error, name: string | undefined): void {
    if (name === undefined) {
      this.#error = error;
      for (const { sinks } of this.#targets.values()) for (const sink of sinks) sink.failed(error);
      return;
    }
    const target = this.#targets.get(name);
    if (target === undefined) return;
    target.error = error;
    for (const sink of target.sinks) sink.failed(error);
  }
}
