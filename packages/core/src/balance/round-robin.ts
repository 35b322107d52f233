/** Each in turn, or one at random: for comparison, and for endpoints whose latency says nothing. */
import type { Attempt, Reply } from "../call.ts";
import { RANK_BUSY, type Endpoint } from "../cluster/endpoint.ts";
import type { EndpointLists, Stretch } from "../cluster/lists.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { orReserve, scan, timesTried, type Picker } from "./picker.ts";

export class InTurn<Req, R extends Reply> implements Picker<Req, R> {
  readonly #lists: EndpointLists<Req, R>;
  readonly #runtime: Runtime;
  readonly #shuffled: boolean;
  /** A random start, or every process of a fleet would march in step. */
  #next: number;
  readonly #stretch: Stretch | undefined;

  /** `stretch`: nothing else is picked from, and nothing is picked if it is empty. */
  constructor(
    lists: EndpointLists<Req, R>,
    runtime: Runtime,
    shuffled: boolean,
    stretch?: Stretch,
  ) {
    this.#lists = lists;
    this.#stretch = stretch;
    this.#runtime = runtime;
    this.#shuffled = shuffled;
    this.#next = Math.floor(runtime.random() * 2 ** 31);
  }

  pick(attempt: Attempt<Req>, now: number): Endpoint<Req, R> | undefined {
    const { available, reserve, ejected, panic } = this.#lists;
    attempt.rule = panic ? "panic" : "turn";
    const stretch = this.#stretch;
    const from = panic ? [...available, ...ejected] : available.length > 0 ? available : reserve;
    const start = stretch === undefined ? 0 : stretch.start;
    const n = stretch === undefined ? from.length : stretch.size;
    for (let k = 0; k < n; k++) {
      const i = this.#shuffled ? Math.floor(this.#runtime.random() * n) : this.#next++ % n;
      const endpoint = from[start + i]!;
      if (!panic && endpoint.rank(now, attempt) > RANK_BUSY) continue;
      if (timesTried(attempt, endpoint) > 0) continue;
      return endpoint;
    }
    if (stretch !== undefined) {
      return scan(available.slice(start, start + n), attempt, now, 0, inFlight);
    }
    const best = scan(from, attempt, now, 0, inFlight);
    return panic ? best : orReserve(best, this.#lists, attempt, now, inFlight);
  }
}

function inFlight(endpoint: { readonly inFlight: number }): number {
  return endpoint.inFlight;
}
