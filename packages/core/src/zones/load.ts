/**
 * Whether the zone of this process is loaded more than the others, by how long they take to answer: shares by the
 * number of endpoints are wrong where the callers of one zone send more than those of another, or where an endpoint has
 * become weak. Of the own zone the median over its endpoints counts, so that a slow one among them changes nothing.
 */
import type { Endpoint } from "../cluster/endpoint.ts";

/** What an answer counts for a second later: most of the weight is on the last five seconds… */
const KEEP = 0.8;
/** …and on the last minute where answers are few, as those of the other zones are. */
const KEEP_FEW = 0.98;
const FEW = 50;
/** Fewer say nothing. */
const MIN_ANSWERS = 5;
/** So many times as long as the others for so long: the zone has no capacity left. */
const LOADED = 1.5;
const LOADED_S = 5;
/** Below it the zone has room again. */
const EASED = 1.1;
/** A step for each second. Back is slower, so that all callers of a zone together do not swing. */
const UP = 0.05;
const DOWN = 0.01;
const MOST = 0.9;
/** Of the calls that could all stay, so many a second go to the others, to know how loaded they are, within limits. */
const EXPLORED_PER_S = 0.2;
const LEAST_EXPLORED = 0.01;
const MOST_EXPLORED = 0.05;

export class ZoneLoad {
  /** Of the calls that would stay in the zone, so much goes to the others as well. */
  spill = 0;
  /** The least that goes to the others, as a part of all. */
  explored: number = LEAST_EXPLORED;
  #loadedS = 0;
  #elsewhere = 0;
  #elsewhereMs = 0;

  /** Once a second, with the endpoints that can be picked. O(endpoints). */
  look(endpoints: readonly Endpoint[], own: (endpoint: Endpoint) => boolean): void {
    const local: number[] = [];
    const keep = this.#elsewhere > FEW ? KEEP : KEEP_FEW;
    this.#elsewhere *= keep;
    this.#elsewhereMs *= keep;
    let perSecond = 0;
    for (const endpoint of endpoints) {
      const { answers, answersMs } = endpoint;
      const isOwn = own(endpoint);
      endpoint.answers = isOwn ? answers * KEEP : 0;
      endpoint.answersMs = isOwn ? answersMs * KEEP : 0;
      if (isOwn) {
        perSecond += answers * (1 - KEEP);
        if (answers >= MIN_ANSWERS) local.push(answersMs / answers);
      } else {
        this.#elsewhere += answers;
        this.#elsewhereMs += answersMs;
      }
    }
    const wanted = perSecond === 0 ? 0 : EXPLORED_PER_S / perSecond;
    this.explored = Math.min(MOST_EXPLORED, Math.max(LEAST_EXPLORED, wanted));
    if (local.length === 0 || this.#elsewhere < MIN_ANSWERS) return;
    local.sort((a, b) => a - b);
    const median = local[(local.length - 1) >> 1]!;
    // A mean of few answers is wrong by as much as one divided by the root of their number.
    const mean = (this.#elsewhereMs / this.#elsewhere) * (1 + 1 / Math.sqrt(this.#elsewhere));
    const ratio = median / mean;
    this.#loadedS = ratio > LOADED ? this.#loadedS + 1 : 0;
    if (this.#loadedS >= LOADED_S) this.spill = Math.min(MOST, this.spill + UP);
    else if (ratio < EASED) this.spill = Math.max(0, this.spill - DOWN);
  }
}
