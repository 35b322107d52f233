/**
 * Power of two choices: draw two distinct endpoints, take the better. It avoids both the herd that
 * runs after the one lowest number and the blindness of a random choice, at a constant price.
 * Rank is compared before cost, so that an endpoint that fails fast attracts no calls by its speed.
 * Draws after Finagle's P2CPick (distinct pair); the random order of the pair breaks ties.
 */
import type { Attempt, Reply } from "../call.ts";
import { RANK_BUSY, type Endpoint } from "../cluster/endpoint.ts";
import type { EndpointLists, Stretch } from "../cluster/lists.ts";
import { LOAD, rowAt, type RowCost } from "../cluster/scores.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { AliasTable } from "./alias.ts";
import { orReserve, scan, timesTried, type Picker } from "./picker.ts";

const REDRAWS = 4;
/** In panic the verdicts are doubted but the cost is not: best of this many. */
const PANIC_DRAWS = 5;

export class TwoChoices<Req, R extends Reply> implements Picker<Req, R> {
  readonly #lists: EndpointLists<Req, R>;
  readonly #cost: (endpoint: Endpoint<Req, R>, now: number) => number;
  readonly #slowStartMs: number;
  readonly #runtime: Runtime;
  readonly #rowCost: RowCost | undefined;
  #alias: AliasTable | undefined = undefined;
  #aliasVersion = -1;
  /** The pair that the next pick will look at, and the length of the list it was drawn for. */
  #first = 0;
  #second = 0;
  #drawnFor = 0;
  readonly #stretch: Stretch | undefined;

  /**
   * `rowCost` is `cost` for an endpoint whose row says everything: most do, most of the time. `stretch`: nothing else
   * is picked from, and nothing is picked if it is empty.
   */
  constructor(
    lists: EndpointLists<Req, R>,
    cost: (endpoint: Endpoint<Req, R>, now: number) => number,
    slowStartMs: number,
    runtime: Runtime,
    rowCost?: RowCost,
    stretch?: Stretch,
  ) {
    this.#lists = lists;
    this.#cost = cost;
    this.#rowCost = rowCost;
    this.#slowStartMs = slowStartMs;
    this.#runtime = runtime;
    this.#stretch = stretch;
  }

  pick(attempt: Attempt<Req>, now: number): Endpoint<Req, R> | undefined {
    const lists = this.#lists;
    if (lists.panic) return this.#pickInPanic(attempt, now);
    const stretch = this.#stretch;
    if (stretch !== undefined && stretch.size <= 1) {
      attempt.rule = "only";
      return stretch.size === 0 ? undefined : lists.available[stretch.start];
    }
    const isReserve = stretch === undefined && lists.available.length === 0;
    const from = isReserve ? lists.reserve : lists.available;
    const start = stretch === undefined ? 0 : stretch.start;
    const n = stretch === undefined ? from.length : stretch.size;
    if (n <= 1) return orReserve(from[0], lists, attempt, now, this.#cost);
    if (this.#aliasVersion !== lists.version) this.#weigh(from, start, n);
    const alias = from === lists.available ? this.#alias : undefined;
    const tried = attempt.call.tried;
    const { numbers } = lists.scores;
    const rowCost = tried === undefined && from === lists.available ? this.#rowCost : undefined;
    for (let draw = 0; draw <= REDRAWS; draw++) {
      let i: number;
      let j: number;
      if (alias === undefined) {
        if (this.#drawnFor !== n) this.#draw(start, n, numbers);
        i = this.#first;
        j = this.#second;
        this.#drawnFor = 0;
      } else {
        i = alias.draw(this.#runtime.random());
        j = i;
        for (let k = 0; j === i && k < 8; k++) j = alias.draw(this.#runtime.random());
        if (j === i) j = (i + 1) % n;
      }
      i += start;
      j += start;
      if (rowCost !== undefined) {
        const x = rowAt(i);
        const y = rowAt(j);
        if (numbers[x + LOAD]! > 0 && numbers[y + LOAD]! > 0) {
          attempt.rule = "cost";
          // First, so that reading the next rows overlaps with comparing these.
          if (alias === undefined) this.#draw(start, n, numbers);
          // Only the winner is looked up: of ten thousand, each look is a cache miss.
          return from[rowCost(numbers, y, now) < rowCost(numbers, x, now) ? j : i];
        }
      }
      const a = from[i]!;
      const b = from[j]!;
      const rankA = a.rank(now, attempt);
      const rankB = b.rank(now, attempt);
      if (tried === undefined) {
        if (rankA > RANK_BUSY && rankB > RANK_BUSY) continue;
      } else {
        const outA = rankA > RANK_BUSY || timesTried(attempt, a) > 0;
        const outB = rankB > RANK_BUSY || timesTried(attempt, b) > 0;
        if (outA && outB) continue;
        attempt.rule = "untried";
        if (outA) return b;
        if (outB) return a;
      }
      attempt.rule = "rank";
      if (rankA !== rankB) return rankA < rankB ? a : b;
      attempt.rule = "cost";
      const [winner, other] = this.#cost(b, now) < this.#cost(a, now) ? [b, a] : [a, b];
      const picked = this.#accept(winner, other, now);
      if (picked === other) attempt.rule = "slow-start";
      return picked;
    }
    attempt.rule = "scan";
    const offset = Math.floor(this.#runtime.random() * n);
    if (stretch !== undefined) {
      return scan(from.slice(start, start + n), attempt, now, offset, this.#cost);
    }
    const best = scan(from, attempt, now, offset, this.#cost);
    return orReserve(best, lists, attempt, now, this.#cost);
  }

  /** A ramping winner is kept in proportion to its share; neutral when the other ramps alike. */
  #accept(winner: Endpoint<Req, R>, other: Endpoint<Req, R>, now: number): Endpoint<Req, R> {
    if (winner.rampUntil <= now) return winner;
    const share = winner.ramp(now, this.#slowStartMs);
    const otherShare = other.ramp(now, this.#slowStartMs);
    if (share >= otherShare) return winner;
    return this.#runtime.random() < share / otherShare ? winner : other;
  }

  #pickInPanic(attempt: Attempt<Req>, now: number): Endpoint<Req, R> | undefined {
    const { available, ejected } = this.#lists;
    const n = available.length + ejected.length;
    if (n === 0) return undefined;
    attempt.rule = "panic";
    const draws = Math.min(PANIC_DRAWS, n);
    const tried = attempt.call.tried;
    let best: Endpoint<Req, R> | undefined;
    let bestTried = 0;
    let bestCost = 0;
    // Distinct without memory: a random start and consecutive places would follow the list's
    // order, so the step is random too and has no factor in common with n when n is its power.
    const start = Math.floor(this.#runtime.random() * n);
    const step = coprimeStep(n, this.#runtime.random());
    for (let k = 0; k < draws; k++) {
      const i = (start + k * step) % n;
      const endpoint = i < available.length ? available[i]! : ejected[i - available.length]!;
      const times = tried === undefined ? 0 : timesTried(attempt, endpoint);
      const cost = this.#cost(endpoint, now);
      if (best === undefined || times < bestTried || (times === bestTried && cost < bestCost)) {
        best = endpoint;
        bestTried = times;
        bestCost = cost;
      }
    }
    return best;
  }

  /** One pick ahead: of ten thousand rows hardly one is in the cache; by then the two are. */
  #draw(start: number, n: number, numbers: Float64Array): void {
    const i = Math.floor(this.#runtime.random() * n);
    let j = Math.floor(this.#runtime.random() * (n - 1));
    if (j >= i) j++;
    this.#first = i;
    this.#second = j;
    // Reads both rows, so that they are in the cache. No load is infinite: without the comparison nothing would be read.
    const loads = numbers[rowAt(start + i) + LOAD]! + numbers[rowAt(start + j) + LOAD]!;
    this.#drawnFor = loads === Infinity ? 0 : n;
  }

  #weigh(list: readonly Endpoint<Req, R>[], start: number, n: number): void {
    this.#aliasVersion = this.#lists.version;
    const from = n === list.length ? list : list.slice(start, start + n);
    const first = from[0]!.weight;
    this.#alias = from.every((endpoint) => endpoint.weight === first)
      ? undefined
      : new AliasTable(from.map((endpoint) => endpoint.weight));
  }
}

/** A step in 1…n-1 whose multiples visit every place before they repeat. */
function coprimeStep(n: number, u: number): number {
  if (n <= 2) return 1;
  let step = 1 + Math.floor(u * (n - 1));
  while (gcd(step, n) !== 1) step = (step % (n - 1)) + 1;
  return step;
}

function gcd(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}
