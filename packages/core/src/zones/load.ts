/**
 * Whether the zone of this process is loaded more than the others, by how long they take to answer: shares by the
 * number of endpoints are wrong where one zone's callers send more than another's, or where an endpoint has become
 * weak. Of the own zone the median over its endpoints counts, so that a slow one among them changes nothing.
 */
import type { Endpoint } from "../cluster/endpoint.ts";

/** What older seconds count for: most of the weight is on the last five. */
const KEEP = 0.8;
/** Fewer answers say nothing about an endpoint… */
const MIN_ANSWERS = 5;
/** …or about all other zones. */
const MIN_ELSEWHERE = 10;
/** So many times as long as the others for so long: the zone has no capacity left. */
const LOADED = 1.5;
const LOADED_S = 5;
/** Below it the zone has room again. */
const EASED = 1.2;
/** A step for each second. Back is slower, so that all callers of a zone together do not swing. */
const UP = 0.05;
const DOWN = 0.01;
const MOST = 0.9;

export class ZoneLoad {
  /** Of the calls that would stay in the zone, so much goes to the others as well. */
  spill = 0;
  #loadedS = 0;

  /** Once a second, with the endpoints that can be picked. O(endpoints). */
  look(endpoints: readonly Endpoint[], own: (endpoint: Endpoint) => boolean): void {
    const local: number[] = [];
    let elsewhereMs = 0;
    let elsewhere = 0;
    for (const endpoint of endpoints) {
      const { answers, answersMs } = endpoint;
      endpoint.answers *= KEEP;
      endpoint.answersMs *= KEEP;
      if (!own(endpoint)) {
        elsewhereMs += answersMs;
        elsewhere += answers;
      } else if (answers >= MIN_ANSWERS) local.push(answersMs / answers);
    }
    if (local.length === 0 || elsewhere < MIN_ELSEWHERE) return;
    local.sort((a, b) => a - b);
    const ratio = (local[(local.length - 1) >> 1]! * elsewhere) / elsewhereMs;
    this.#loadedS = ratio > LOADED ? this.#loadedS + 1 : 0;
    if (this.#loadedS >= LOADED_S) this.spill = Math.min(MOST, this.spill + UP);
    else if (ratio < EASED) this.spill = Math.max(0, this.spill - DOWN);
  }
}
