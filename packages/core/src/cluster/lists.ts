/**
 * Which endpoints a picker may draw from, as arrays that change in O(1): adding appends, removing
 * moves the last one into the gap. One endpoint among ten thousand costs what one among ten does.
 */
import type { Reply } from "../call.ts";
import type { EndpointInfo } from "../endpoint-info.ts";
import type { Endpoint } from "./endpoint.ts";
import { Scores } from "./scores.ts";

export const LIST_NONE = 0;
/** Endpoints that may be picked. */
export const LIST_AVAILABLE = 1;
/** Out on a verdict (streak, ratio): used in panic. */
export const LIST_EJECTED = 2;
/** Endpoints that refuse connections, which is a fact and not a verdict. */
export const LIST_DOWN = 3;
/** Weight 0: only when nothing else is there. */
export const LIST_SPARE = 4;

/** Said to be draining: only when nothing else is there, not even one of weight 0. */
export const LIST_DRAINING = 5;

/** No new attempts, whatever else is left: said not to serve, or draining with an open breaker. */
export const LIST_ENDING = 6;

/** A run of `available`: the endpoints of one group, side by side. */
export interface Stretch {
  start: number;
  size: number;
}

export class EndpointLists<Req, R extends Reply> {
  readonly available: Endpoint<Req, R>[] = [];
  /** What a pick compares of `available`, row by row. */
  readonly scores: Scores = new Scores();
  readonly ejected: Endpoint<Req, R>[] = [];
  readonly down: Endpoint<Req, R>[] = [];
  readonly spare: Endpoint<Req, R>[] = [];
  readonly draining: Endpoint<Req, R>[] = [];
  readonly ending: Endpoint<Req, R>[] = [];
  /** Goes up with every change of `available`: what a picker derived from it is stale. */
  version = 0;
  /** Verdicts exceed the cap: they are not enforced. Writer: cluster. */
  panic = false;
  /** The groups of `available`, in their order; empty while it has none. */
  stretches: readonly Stretch[] = [];
  /** What is picked from where nothing is available. */
  get reserve(): readonly Endpoint<Req, R>[] {
    return this.spare.length > 0 ? this.spare : this.draining;
  }

  #groupOf: ((info: EndpointInfo) => number) | undefined = undefined;

  /**
   * Keeps the endpoints of each group side by side from now on: `groupOf` gives a number from 0 to `groups` - 1,
   * and is asked when an endpoint becomes available. A change of one endpoint costs a step for each group behind
   * its own. Undefined: no groups any more.
   */
  arrange(groups: number, groupOf: ((info: EndpointInfo) => number) | undefined): void {
    this.#groupOf = groupOf;
    this.version++;
    if (groupOf === undefined) {
      this.stretches = [];
      return;
    }
    const sorted = Array.from({ length: groups }, (): Endpoint<Req, R>[] => []);
    for (const endpoint of this.available) {
      endpoint.group = groupOf(endpoint.info);
      sorted[endpoint.group]!.push(endpoint);
    }
    let start = 0;
    this.stretches = sorted.map(({ length: size }) => ({ start: (start += size) - size, size }));
    for (const [i, endpoint] of sorted.flat().entries()) {
      this.available[i] = endpoint;
      endpoint.slot = i;
    }
    this.scores.arrange(this.available.map(({ row }) => row));
  }

  put(endpoint: Endpoint<Req, R>, list: number): void {
    if (endpoint.list === list) return;
    if (endpoint.list === LIST_AVAILABLE && this.#groupOf !== undefined) this.#ungroup(endpoint);
    const from = this.#array(endpoint.list);
    if (from !== undefined) {
      const last = from.pop()!;
      if (last !== endpoint) {
        from[endpoint.slot] = last;
        last.slot = endpoint.slot;
      }
    }
    if (endpoint.list === LIST_AVAILABLE) this.scores.remove(endpoint.slot);
    if (list === LIST_AVAILABLE) this.scores.push(endpoint.row);
    endpoint.publish();
    if (endpoint.list === LIST_AVAILABLE || list === LIST_AVAILABLE) this.version++;
    const to = this.#array(list);
    endpoint.list = list;
    endpoint.slot = to === undefined ? -1 : to.push(endpoint) - 1;
    if (list === LIST_AVAILABLE && this.#groupOf !== undefined) {
      this.#group(endpoint, this.#groupOf(endpoint.info));
    }
  }

  /** From the end of the list into its group: the first of each group on the way goes to the group's end. */
  #group(endpoint: Endpoint<Req, R>, group: number): void {
    const { stretches } = this;
    for (let g = stretches.length - 1; g > group; g--) {
      const stretch = stretches[g]!;
      if (stretch.size > 0) this.#swap(endpoint.slot, stretch.start);
      stretch.start++;
    }
    stretches[group]!.size++;
    endpoint.group = group;
  }

  /** The way back: to the end of the list. */
  #ungroup(endpoint: Endpoint<Req, R>): void {
    const { stretches } = this;
    for (let g = endpoint.group; g < stretches.length; g++) {
      const stretch = stretches[g]!;
      if (stretch.size > 0) this.#swap(endpoint.slot, stretch.start + stretch.size - 1);
      if (g === endpoint.group) stretch.size--;
      else stretch.start--;
    }
  }

  #swap(i: number, j: number): void {
    if (i === j) return;
    const { available } = this;
    const a = available[i]!;
    const b = available[j]!;
    available[i] = b;
    available[j] = a;
    b.slot = i;
    a.slot = j;
    this.scores.swap(i, j);
  }

  #array(list: number): Endpoint<Req, R>[] | undefined {
    switch (list) {
      case LIST_AVAILABLE:
        return this.available;
      case LIST_EJECTED:
        return this.ejected;
      case LIST_DOWN:
        return this.down;
      case LIST_SPARE:
        return this.spare;
      case LIST_DRAINING:
        return this.draining;
      case LIST_ENDING:
        return this.ending;
      default:
        return undefined;
    }
  }
}
