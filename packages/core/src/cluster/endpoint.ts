/**
 * One address, with its counters, latency estimate, breaker and connection. It outlives updates of
 * the list and its own short absences, so nothing that was learned is lost when discovery flaps.
 */
import type { Attempt, EndpointRef, Reply } from "../call.ts";
import { Breaker, type BreakerOptions } from "../breaker/breaker.ts";
import { addressOf, type EndpointInfo } from "../discovery/discovery.ts";
import type { Connection } from "../transport.ts";
import { Latency, type LatencyOptions } from "./latency.ts";

/** How fit an endpoint is, lower is better; compared before any load. */
export const RANK_PROBE = -1;
export const RANK_READY = 0;
export const RANK_BUSY = 1;
export const RANK_EJECTED = 2;

/** A half-open endpoint waits this long for a call that can be retried if the probe fails. */
const PROBE_PATIENCE_MS = 5_000;

export class Endpoint<Req = unknown, R extends Reply = Reply> implements EndpointRef {
  readonly key: string;
  readonly address: string;
  info: EndpointInfo;
  weight: number;
  connection: Connection<Req, R> | undefined = undefined;
  readonly latency: Latency;
  readonly breaker: Breaker;
  /** Attempts whose last byte has not been read. */
  inFlight = 0;
  picks = 0;
  /** Asked to be spared until then (429, Retry-After). */
  busyUntil = 0;
  /** Slow start: full share from here on; 0 when it has it. */
  rampUntil = 0;
  /** The one attempt a half-open breaker let through. */
  probe: Attempt | undefined = undefined;
  /** Index in the list it stands in; -1 in none. Writer: EndpointLists. */
  slot = -1;
  list = 0;
  #oldest: Attempt | undefined = undefined;
  #newest: Attempt | undefined = undefined;

  constructor(key: string, info: EndpointInfo, latency: LatencyOptions, breaker: BreakerOptions) {
    this.key = key;
    this.info = info;
    this.address = addressOf(info);
    this.weight = info.weight ?? 1;
    this.latency = new Latency(latency);
    this.breaker = new Breaker(breaker);
  }

  started(attempt: Attempt): void {
    this.inFlight++;
    this.picks++;
    attempt.unanswered = true;
    attempt.older = this.#newest;
    if (this.#newest === undefined) this.#oldest = attempt;
    else this.#newest.newer = attempt;
    this.#newest = attempt;
  }

  /** The reply has begun: the attempt no longer ages. Idempotent. */
  answered(attempt: Attempt): void {
    if (!attempt.unanswered) return;
    attempt.unanswered = false;
    if (attempt.older === undefined) this.#oldest = attempt.newer;
    else attempt.older.newer = attempt.newer;
    if (attempt.newer === undefined) this.#newest = attempt.older;
    else attempt.newer.older = attempt.older;
    attempt.older = attempt.newer = undefined;
  }

  ended(attempt: Attempt): void {
    this.inFlight--;
    this.answered(attempt);
  }

  /** Age of the oldest unanswered attempt: a frozen endpoint grows expensive before any timeout. */
  oldestAgeMs(now: number): number {
    return this.#oldest === undefined ? 0 : now - this.#oldest.startedAt;
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
    return ((base + this.latency.penalty(now)) * (this.inFlight + 1)) / (this.weight || 1);
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
