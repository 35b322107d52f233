/**
 * Which endpoints a picker may draw from, as arrays that change in O(1): adding appends, removing
 * moves the last one into the gap. One endpoint among ten thousand costs what one among ten does.
 */
import type { Reply } from "../call.ts";
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

/** Said to be draining: no new attempts, whatever else is left. */
export const LIST_DRAINING = 5;

export class EndpointLists<Req, R extends Reply> {
  readonly available: Endpoint<Req, R>[] = [];
  /** What a pick compares of `available`, row by row. */
  readonly scores: Scores = new Scores();
  readonly ejected: Endpoint<Req, R>[] = [];
  readonly down: Endpoint<Req, R>[] = [];
  readonly spare: Endpoint<Req, R>[] = [];
  readonly draining: Endpoint<Req, R>[] = [];
  /** Goes up with every change of `available`: what a picker derived from it is stale. */
  version = 0;
  /** Verdicts exceed the cap: they are not enforced. Writer: cluster. */
  panic = false;

  put(endpoint: Endpoint<Req, R>, list: number): void {
    if (endpoint.list === list) return;
    const from = this.#array(endpoint.list);
    if (from !== undefined) {
      const last = from.pop()!;
      if (last !== endpoint) {
        from[endpoint.slot] = last;
        last.slot = endpoint.slot;
      }
    }
    if (endpoint.list === LIST_AVAILABLE) this.scores.remove(endpoint.slot);
    if (list === LIST_AVAILABLE) this.scores.push(endpoint.cell);
    endpoint.publish();
    if (endpoint.list === LIST_AVAILABLE || list === LIST_AVAILABLE) this.version++;
    const to = this.#array(list);
    endpoint.list = list;
    endpoint.slot = to === undefined ? -1 : to.push(endpoint) - 1;
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
      default:
        return undefined;
    }
  }
}
