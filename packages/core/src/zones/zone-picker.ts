/**
 * Draws a zone by its share, then leaves the choice in it to the picker of that zone, so that rank and cost count as
 * ever. One slow endpoint of the zone gets fewer calls than its neighbours, and no call leaves the zone for it.
 */
import type { Picker } from "../balance/picker.ts";
import type { Attempt, Reply } from "../call.ts";
import { RANK_READY, type Endpoint } from "../cluster/endpoint.ts";
import type { EndpointLists, Stretch } from "../cluster/lists.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { ZoneBalance, ZoneDraw } from "./zone-balance.ts";

export class ZonePicker<Req, R extends Reply> implements Picker<Req, R> {
  readonly #balance: ZoneBalance<Req, R>;
  readonly #lists: EndpointLists<Req, R>;
  readonly #runtime: Runtime;
  readonly #everywhere: Picker<Req, R>;
  readonly #make: (stretch?: Stretch) => Picker<Req, R>;
  /** Those that `#pickers` were made for. */
  #draws: readonly ZoneDraw[] | undefined = undefined;
  #pickers: readonly Picker<Req, R>[] = [];

  /** `make`: the picker that the service wants, of all endpoints or of a group of them. */
  constructor(
    balance: ZoneBalance<Req, R>,
    lists: EndpointLists<Req, R>,
    runtime: Runtime,
    make: (stretch?: Stretch) => Picker<Req, R>,
  ) {
    this.#balance = balance;
    this.#lists = lists;
    this.#runtime = runtime;
    this.#make = make;
    this.#everywhere = make();
  }

  pick(attempt: Attempt<Req>, now: number): Endpoint<Req, R> | undefined {
    const { draws } = this.#balance;
    // A further attempt of a call goes to any zone: what has failed may have failed with its zone.
    if (draws === undefined || this.#lists.panic || attempt.call.tried !== undefined) {
      return this.#everywhere.pick(attempt, now);
    }
    if (draws !== this.#draws) this.#follow(draws);
    const u = this.#runtime.random();
    let i = 0;
    while (i < draws.length && u >= draws[i]!.upTo) i++;
    const picked = this.#pickers[i]?.pick(attempt, now);
    // Nothing is left there, or what is left is busy, or has its one probe under way: at once to the others.
    if (picked !== undefined && picked.rank(now, attempt) <= RANK_READY) return picked;
    return this.#everywhere.pick(attempt, now);
  }

  /** A group of endpoints keeps its picker, which may remember whose turn it is. */
  #follow(draws: readonly ZoneDraw[]): void {
    const made = new Map(this.#draws?.map(({ stretch }, i) => [stretch, this.#pickers[i]!]));
    this.#pickers = draws.map(({ stretch }) => made.get(stretch) ?? this.#make(stretch));
    this.#draws = draws;
  }
}
