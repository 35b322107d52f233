/**
 * Which endpoints there are: what discovery says, in whole sets or as changes. One that is removed is
 * remembered for a while, so that nothing that was learned is lost when discovery flaps.
 */
import type { Reply } from "../call.ts";
import type { EndpointSink } from "../discovery/discovery.ts";
import type { EndpointInfo } from "../endpoint-info.ts";
import type { Timer } from "../runtime/runtime.ts";
import { inTurns } from "../runtime/turns.ts";
import { Endpoint, endpointKey } from "./endpoint.ts";
import type { Guard } from "./guard.ts";
import { LIST_AVAILABLE, LIST_NONE } from "./lists.ts";
import type { ClusterState } from "./state.ts";

/** A removed endpoint that comes back within this time is the same one. */
const REMEMBER_MS = 60_000;

export class Members<Req, R extends Reply> implements EndpointSink {
  /** Discovery has answered at least once. */
  known = false;
  /** The last report of discovery was a failure. */
  stale: Error | undefined = undefined;
  /** Why discovery names no endpoint, in its own words; undefined: it does not say, or names some. */
  emptyBecause: string | undefined = undefined;
  readonly #state: ClusterState<Req, R>;
  readonly #guard: Guard<Req, R>;
  /** Of those that were removed lately. */
  readonly #forgetting = new Map<Endpoint<Req, R>, Timer>();
  /** Number of the last whole set that discovery gave. */
  #generation = 0;
  /** A set that is being applied. */
  #work: Generator<undefined, void> | undefined = undefined;
  #waiters: (() => void)[] = [];

  constructor(state: ClusterState<Req, R>, guard: Guard<Req, R>) {
    this.#state = state;
    this.#guard = guard;
  }

  /** Looks at every entry once; everything after that is proportional to what has changed. */
  replace(infos: readonly EndpointInfo[], why?: string): void | Promise<void> {
    return this.#run(this.#replacing(infos, why));
  }

  change(
    upserted: readonly EndpointInfo[],
    removed: readonly EndpointInfo[],
  ): void | Promise<void> {
    this.emptyBecause = undefined;
    return this.#run(this.#applying(upserted, removed.map(endpointKey)));
  }

  /** A large set takes several turns. What is reported before it is complete ends it where it is. */
  #run(work: Generator<undefined, void>): void | Promise<void> {
    this.#work?.return();
    this.#work = work;
    return inTurns(this.#state.runtime, work);
  }

  *#replacing(infos: readonly EndpointInfo[], why: string | undefined): Generator<undefined, void> {
    const { closed, endpoints } = this.#state;
    if (closed) return;
    this.emptyBecause = why;
    const generation = ++this.#generation;
    const fresh: EndpointInfo[] = [];
    let staying = 0;
    for (const info of infos) {
      yield;
      const endpoint = endpoints.get(endpointKey(info));
      if (endpoint === undefined) {
        fresh.push(info);
        continue;
      }
      if (endpoint.generation !== generation) staying++;
      endpoint.generation = generation;
      this.#reweigh(endpoint, info);
    }
    const gone: string[] = [];
    if (staying < endpoints.size) {
      for (const { key, generation: last } of endpoints.values()) {
        if (last !== generation) gone.push(key);
      }
    }
    yield* this.#applying(fresh, gone);
  }

  failed(error: Error): void {
    this.stale = error;
    this.#state.recorder.failed(error);
  }

  /**
   * In one turn where it is small. Else what is new comes first where there is room for it, so that at no moment fewer
   * endpoints than before and after can be picked.
   */
  *#applying(
    upserted: readonly EndpointInfo[],
    removed: readonly string[],
  ): Generator<undefined, void> {
    const { closed, endpoints, options, recorder } = this.#state;
    if (closed) return;
    const counts = { added: 0, excess: 0 };
    const joinsOthers = endpoints.size > 0;
    const fits = endpoints.size + upserted.length <= options.maxEndpoints;
    if (fits) yield* this.#adding(upserted, joinsOthers, counts);
    for (const key of removed) {
      yield;
      this.#remove(key);
    }
    if (!fits) yield* this.#adding(upserted, joinsOthers, counts);
    this.known = true;
    this.stale = undefined;
    this.#guard.judge();
    const { added, excess } = counts;
    if (added > 0 || removed.length > 0) recorder.updated(added, removed.length);
    recorder.excess(excess, options.maxEndpoints);
    recorder.answered();
    this.wake();
  }

  *#adding(
    infos: readonly EndpointInfo[],
    joinsOthers: boolean,
    counts: { added: number; excess: number },
  ): Generator<undefined, void> {
    const { endpoints, options } = this.#state;
    for (const info of infos) {
      yield;
      const key = endpointKey(info);
      const present = endpoints.get(key);
      if (present !== undefined) {
        this.#reweigh(present, info);
      } else if (endpoints.size >= options.maxEndpoints) {
        counts.excess++;
      } else {
        this.#add(key, info, joinsOthers);
        counts.added++;
      }
    }
  }

  #add(key: string, info: EndpointInfo, joinsOthers: boolean): void {
    const { departed, endpoints, options, recorder, runtime } = this.#state;
    let endpoint = departed.get(key);
    if (endpoint === undefined) {
      const { balancer, breaker } = options;
      endpoint = new Endpoint<Req, R>(key, info, balancer, breaker);
      endpoint.knownSince = runtime.now();
      // The first set is alone; a newcomer among busy peers starts with a small share.
      if (joinsOthers) endpoint.rampUntil = runtime.now() + balancer.slowStartMs;
    } else {
      departed.delete(key);
      this.#remember(endpoint);
      this.#reweigh(endpoint, info);
      this.#guard.returned(endpoint);
    }
    endpoints.set(key, endpoint);
    this.#guard.place(endpoint);
    recorder.changed(endpoint, "added");
  }

  #reweigh(endpoint: Endpoint<Req, R>, info: EndpointInfo): void {
    const { endpoints, lists, recorder } = this.#state;
    const weight = info.weight ?? 1;
    const wasDraining = endpoint.draining;
    const before = endpoint.info;
    endpoint.info = info;
    if (!isSamePlace(before, info)) this.#moved(endpoint);
    // It speaks another protocol now: new attempts get a new connection (faults.md D17).
    if (before.http2 !== info.http2) this.#state.disconnect(endpoint);
    const drains = endpoint.draining !== wasDraining;
    const ends = (info.serving === false) !== (before.serving === false);
    const weighs = weight !== endpoint.weight;
    if (!weighs && !drains && !ends) return;
    endpoint.weight = weight;
    const isPresent = endpoints.has(endpoint.key);
    if (isPresent) this.#guard.place(endpoint);
    lists.version++;
    if (isPresent && weighs) recorder.changed(endpoint, "weight");
    if (isPresent && drains) recorder.changed(endpoint, "draining");
  }

  /** It stands in another zone now, so it belongs into another group of those that may be picked. */
  #moved(endpoint: Endpoint<Req, R>): void {
    if (endpoint.list !== LIST_AVAILABLE) return;
    this.#state.lists.put(endpoint, LIST_NONE);
    this.#guard.place(endpoint);
  }

  #remove(key: string): void {
    const { departed, endpoints, lists, options, recorder, runtime } = this.#state;
    const endpoint = endpoints.get(key);
    if (endpoint === undefined) return;
    endpoints.delete(key);
    lists.put(endpoint, LIST_NONE);
    recorder.changed(endpoint, "removed");
    departed.set(key, endpoint);
    const timer = runtime.after(REMEMBER_MS, (one) => this.#forget(one), endpoint);
    this.#forgetting.set(endpoint, timer);
    // Oldest first: the memory of absences is bounded like the set itself.
    if (departed.size > options.maxEndpoints) this.#forget(departed.values().next().value!);
  }

  /** Cancels the timer that would forget an endpoint. */
  #remember(endpoint: Endpoint<Req, R>): void {
    this.#forgetting.get(endpoint)?.cancel();
    this.#forgetting.delete(endpoint);
  }

  #forget(endpoint: Endpoint<Req, R>): void {
    this.#state.departed.delete(endpoint.key);
    this.#remember(endpoint);
    this.#guard.forget(endpoint);
    this.#state.recorder.forgotten(endpoint);
    this.#state.disconnect(endpoint);
  }

  /** Resolves when discovery has said something, or after `patienceMs`. */
  whenKnown(patienceMs: number): Promise<void> {
    if (this.known || this.#state.closed) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        timer.cancel();
        resolve();
      };
      const timer = this.#state.runtime.after(
        patienceMs,
        () => {
          this.#waiters = this.#waiters.filter((one) => one !== wake);
          resolve();
        },
        undefined,
        true,
      );
      this.#waiters.push(wake);
    });
  }

  /** How many wait to know. */
  get waiting(): number {
    return this.#waiters.length;
  }

  /** Resolves the promises of `whenKnown`. */
  wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }

  /** Drops all endpoints; they end with their attempts, which have `graceMs`. */
  async clear(graceMs: number): Promise<void> {
    this.#work?.return();
    const { departed, endpoints, lists } = this.#state;
    const closing: Promise<void>[] = [];
    for (const endpoint of this.#state.every()) {
      this.#remember(endpoint);
      this.#guard.forget(endpoint);
      this.#state.recorder.forgotten(endpoint);
      lists.put(endpoint, LIST_NONE);
      if (endpoint.connection !== undefined) closing.push(endpoint.connection.close(graceMs));
    }
    endpoints.clear();
    departed.clear();
    this.known = false;
    lists.panic = false;
    await Promise.all(closing);
  }
}

function isSamePlace(a: EndpointInfo, b: EndpointInfo): boolean {
  if (a.zone !== b.zone) return false;
  if (a.forZones === b.forZones) return true;
  return (
    a.forZones?.length === b.forZones?.length &&
    !a.forZones?.some((zone, i) => zone !== b.forZones![i])
  );
}
