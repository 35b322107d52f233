/**
 * One address, with its counters, latency estimate, breaker and connection. It outlives updates of
 * the list and its own short absences, so nothing that was learned is lost when discovery flaps.
 */
import type { Attempt, EndpointRef, Reply } from "../call.ts";
import { Breaker, type BreakerOptions } from "../breaker/breaker.ts";
import { addressOf, type EndpointInfo } from "../endpoint-info.ts";
import type { Connection } from "../transport.ts";
import { Latency, type LatencyOptions } from "./latency.ts";
import { ScoreRow, LOAD, OLDEST } from "./scores.ts";

/** How fit an endpoint is, lower is better; compared before any load. */
export const RANK_PROBE = -1;
export const RANK_READY = 0;
export const RANK_BUSY = 1;
export const RANK_EJECTED = 2;

/** A half-open endpoint waits this long for a call that can be retried if the probe fails. */
const PROBE_PATIENCE_MS = 5_000;

/**
 * What these begin with is no integer to V8, because it lays out an object anew where a field that began with one gets a
 * fraction: at the first answer of one among ten thousand endpoints that would stop the process for 10 ms.
 */
const NEVER = -Infinity;
const NONE = -0;

export class Endpoint<Req = unknown, R extends Reply = Reply> implements EndpointRef {
  readonly key: string;
  readonly address: string;
  info: EndpointInfo;
  /** What a pick reads of this endpoint; written here and by its latency. */
  readonly row: ScoreRow = new ScoreRow();
  connection: Connection<Req, R> | undefined = undefined;
  readonly latency: Latency;
  readonly breaker: Breaker;
  picks = 0;
  /** How many calls it has answered, and how long that took in all; older ones fade. Writers: outcomes, zones. */
  answers: number = NONE;
  answersMs: number = NONE;
  /** Instant at which discovery first named it. Writer: members. */
  knownSince: number = NEVER;
  /** The one attempt a half-open breaker let through. */
  probe: Attempt | undefined = undefined;
  /** Index in the list it stands in; -1 in none. Writer: EndpointLists. */
  slot = -1;
  list = 0;
  /** Which group of the available ones it stands in. Writer: EndpointLists. */
  group = 0;
  /** The last whole set of discovery that it was in. Writer: cluster. */
  generation = 0;
  #weight: number;
  #inFlight = 0;
  #busyUntil = NEVER;
  #rampUntil = NEVER;
  #oldest: Attempt | undefined = undefined;
  #newest: Attempt | undefined = undefined;

  constructor(key: string, info: EndpointInfo, latency: LatencyOptions, breaker: BreakerOptions) {
    this.key = key;
    this.info = info;
    this.address = addressOf(info);
    this.latency = new Latency(latency, this.row);
    this.breaker = new Breaker(breaker);
    this.#weight = info.weight ?? 1;
    this.publish();
  }

  /** New settings; counters, estimate, breaker and connection stay. */
  configure(latency: LatencyOptions, breaker: BreakerOptions): void {
    this.latency.configure(latency);
    this.breaker.configure(breaker);
    this.publish();
  }

  get weight(): number {
    return this.#weight;
  }

  set weight(weight: number) {
    this.#weight = weight;
    this.publish();
  }

  /** Attempts whose last byte has not been read. */
  get inFlight(): number {
    return this.#inFlight;
  }

  set inFlight(inFlight: number) {
    this.#inFlight = inFlight;
    this.publish();
  }

  /** Asked to be spared until then (429, Retry-After). */
  get busyUntil(): number {
    return this.#busyUntil;
  }

  set busyUntil(until: number) {
    this.#busyUntil = until;
    this.publish();
  }

  /** Slow start: full share from here on; 0 when it has it. */
  get rampUntil(): number {
    return this.#rampUntil;
  }

  set rampUntil(until: number) {
    this.#rampUntil = until;
    this.publish();
  }

  /** Brings the load in the row up to date; also after a change of the breaker's state. */
  publish(): void {
    const load = (this.#inFlight + 1) / (this.#weight || 1);
    const plain =
      this.#busyUntil === NEVER &&
      this.#rampUntil === NEVER &&
      !this.latency.penalised &&
      this.breaker.state === "closed";
    this.row.numbers[this.row.at + LOAD] = plain ? load : -load;
  }

  /** Forgets what has run out, so that picks find everything in the row again. */
  review(now: number): void {
    if (this.row.numbers[this.row.at + LOAD]! > 0) return;
    if (this.#busyUntil <= now) this.#busyUntil = NEVER;
    if (this.#rampUntil <= now) this.#rampUntil = NEVER;
    this.publish();
  }

  get draining(): boolean {
    return this.info.draining === true || this.info.serving === false;
  }

  get zone(): string | undefined {
    return this.info.zone;
  }

  started(attempt: Attempt): void {
    this.inFlight++;
    this.picks++;
    attempt.unanswered = true;
    attempt.older = this.#newest;
    if (this.#newest === undefined) this.#setOldest(attempt);
    else this.#newest.newer = attempt;
    this.#newest = attempt;
  }

  /** The reply has begun: the attempt no longer ages. Idempotent. */
  answered(attempt: Attempt): void {
    if (!attempt.unanswered) return;
    attempt.unanswered = false;
    if (attempt.older === undefined) this.#setOldest(attempt.newer);
    else attempt.older.newer = attempt.newer;
    if (attempt.newer === undefined) this.#newest = attempt.older;
    else attempt.newer.older = attempt.older;
    attempt.older = attempt.newer = undefined;
  }

  ended(attempt: Attempt): void {
    this.inFlight--;
    this.answered(attempt);
  }

  #setOldest(attempt: Attempt | undefined): void {
    this.#oldest = attempt;
    this.row.numbers[this.row.at + OLDEST] = attempt === undefined ? Infinity : attempt.startedAt;
  }

  /** Age of the oldest unanswered attempt: a frozen endpoint grows expensive before any timeout. */
  oldestAgeMs(now: number): number {
    return this.#oldest === undefined ? 0 : now - this.#oldest.startedAt;
  }

  /** Attempts that have no connection yet. O(attempts in progress): for those who ask. */
  get unsent(): number {
    let count = 0;
    for (let one = this.#oldest; one !== undefined; one = one.newer) if (one.sentAt === 0) count++;
    return count;
  }

  rank(now: number, attempt: Attempt): number {
    if (this.breaker.state === "closed") return this.busyUntil > now ? RANK_BUSY : RANK_READY;
    if (this.breaker.state === "open" || this.probe !== undefined) return RANK_EJECTED;
    const { call } = attempt;
    const safe = call.idempotent && call.replayable;
    return safe || now - this.breaker.changedAt >= PROBE_PATIENCE_MS ? RANK_PROBE : RANK_EJECTED;
  }

  /** What the picker compares: (the larger of estimate and age, plus penalty) · (in flight + 1) / weight. */
  cost(now: number, g: number): number {
    const estimate = this.latency.projected(now, g);
    const age = this.oldestAgeMs(now);
    const base = age > estimate ? age : estimate;
    return ((base + this.latency.penalty(now)) * (this.#inFlight + 1)) / (this.#weight || 1);
  }

  /** Slow start: 0.1 rising to 1. */
  ramp(now: number, slowStartMs: number): number {
    if (this.rampUntil <= now) return 1;
    return rampFactor(slowStartMs - (this.rampUntil - now), slowStartMs);
  }
}

export function rampFactor(ageMs: number, windowMs: number): number {
  return ageMs >= windowMs ? 1 : Math.max(0.1, ageMs / windowMs);
}

/** Identity across updates: address and uid. A recycled address with another uid starts afresh. */
export function endpointKey(info: EndpointInfo): string {
  return info.uid === undefined ? addressOf(info) : `${addressOf(info)}#${info.uid}`;
}
