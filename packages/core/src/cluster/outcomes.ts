/**
 * What ended attempts say about their endpoints: how long they take (`latency.ts`), and whether they fail,
 * alone or like their peers. What trips a breaker is passed on to `guard.ts`.
 */
import type { Attempt, Outcome, Reply } from "../call.ts";
import type { Endpoint } from "./endpoint.ts";
import type { Guard } from "./guard.ts";
import { peerMedian } from "./latency.ts";
import type { ClusterState } from "./state.ts";
import type { Traffic } from "./traffic.ts";

/** A deadline shorter than this says more about the deadline than about the endpoint. */
const MIN_TIMEOUT_MS = 50;
const MEDIAN_REFRESH_MS = 100;
/** Enough estimates for a median that decides nothing but an order of magnitude. */
const MEDIAN_SAMPLE = 101;
const MAX_BUSY_MS = 60_000;

export class Outcomes<Req, R extends Reply> {
  readonly #state: ClusterState<Req, R>;
  readonly #guard: Guard<Req, R>;
  readonly #traffic: Traffic;
  #median: number;
  #medianAt = -Infinity;

  constructor(state: ClusterState<Req, R>, guard: Guard<Req, R>, traffic: Traffic) {
    this.#state = state;
    this.#guard = guard;
    this.#traffic = traffic;
    this.#median = state.options.balancer.seedMs;
  }

  settled(attempt: Attempt, outcome: Outcome): void {
    const endpoint = attempt.endpoint as Endpoint<Req, R>;
    const now = this.#state.runtime.now();
    attempt.endedAt = now;
    endpoint.ended(attempt);
    const { connectionReused, sentAt } = attempt;
    if (connectionReused !== undefined) this.#state.recorder.connected(connectionReused);
    if (sentAt !== attempt.startedAt) this.#waited(attempt, sentAt, now);
    const g = this.peerMedian(now);
    // The time this process was held up is not the endpoint's.
    const stalledMs = this.#state.runtime.loop.leave(now) - attempt.stallMark;
    const elapsedMs = Math.max(
      0,
      (attempt.answeredAt || now) - (attempt.sentAt || attempt.startedAt) - stalledMs,
    );
    if (outcome === "timeout" && elapsedMs < Math.max(2 * g, MIN_TIMEOUT_MS)) outcome = "abandoned";
    this.#learn(endpoint, attempt, outcome, elapsedMs, now, g);
    if (attempt.busyForMs > 0) {
      endpoint.busyUntil = now + Math.min(attempt.busyForMs, MAX_BUSY_MS);
    }
    endpoint.review(now);

    if (endpoint.probe === attempt) {
      endpoint.probe = undefined;
      if (endpoint.breaker.state === "half-open") {
        this.#guard.probed(endpoint, attempt, outcome, now);
      }
      return;
    }
    const { breaker } = endpoint;
    const old = attempt.startedAt < breaker.changedAt;
    if (attempt.connectFailed && outcome === "failure") {
      // A fact, whatever the verdicts say, unless it has healed since: in panic an ejected endpoint
      // is still picked, and one that refuses connections must leave.
      if (!breaker.hard && !(old && breaker.state === "closed"))
        this.#guard.open(endpoint, "connect", now);
      return;
    }
    // News from before the last change of state is no news.
    if (breaker.state !== "closed" || old) return;
    if (outcome === "abandoned") return;
    // It said until when: that is an answer, and it is spared so long. Verdicts are for who does not.
    if (outcome === "overloaded" && attempt.busyForMs > 0) return;
    this.#traffic.add(now, attempt.startedAt, outcome === "success");
    if (outcome === "success") return breaker.success(now);
    const { window } = this.#traffic;
    const trigger =
      outcome === "overloaded" ? breaker.overloaded(now, window) : breaker.failure(now, window);
    if (trigger !== undefined) this.#guard.open(endpoint, trigger, now);
  }

  /** It was not sent at once: it waited for a connection, or was refused one. */
  #waited({ startedAt, connectFailed, error }: Attempt, sentAt: number, now: number): void {
    const { recorder } = this.#state;
    if (sentAt > 0) recorder.waited(sentAt - startedAt);
    else if (connectFailed || error?.reason === "queue_wait") recorder.waited(now - startedAt);
  }

  #learn(
    endpoint: Endpoint<Req, R>,
    attempt: Attempt,
    outcome: Outcome,
    elapsedMs: number,
    now: number,
    g: number,
  ): void {
    if (attempt.connectFailed) return;
    const { latency } = endpoint;
    const { penaltyFactor, callerFaultFactor } = this.#state.options.balancer;
    switch (outcome) {
      case "success":
        latency.observe(now, elapsedMs, attempt.callerFault, g);
        if (attempt.callerFault) latency.penalise(now, callerFaultFactor, g);
        else latency.forgive(now);
        if (this.#state.lists.stretches.length > 0) {
          endpoint.answers++;
          endpoint.answersMs += elapsedMs;
        }
        return;
      case "failure":
      case "timeout":
        latency.observe(now, elapsedMs, true, g);
        latency.penalise(now, penaltyFactor, g);
        return;
      case "overloaded":
        latency.observe(now, elapsedMs, true, g);
        // With a hint it is busy until then; without one, only the penalty keeps callers away.
        if (attempt.busyForMs === 0) latency.penalise(now, penaltyFactor, g);
        return;
      case "abandoned":
        // It waited for its caller, so the time says nothing about the endpoint.
        if (attempt.callerFault) return;
        latency.observe(now, elapsedMs, true, g);
        return;
    }
  }

  /** Lower median of the estimates of the endpoints in use; at most 100 ms old. */
  peerMedian(now: number): number {
    if (now - this.#medianAt < MEDIAN_REFRESH_MS) return this.#median;
    this.#medianAt = now;
    const { available } = this.#state.lists;
    const stride = Math.max(1, Math.floor(available.length / MEDIAN_SAMPLE));
    const estimates: number[] = [];
    for (let i = 0; i < available.length; i += stride) {
      const { estimate } = available[i]!.latency;
      if (estimate >= 0) estimates.push(estimate);
    }
    return (this.#median = peerMedian(estimates, this.#state.options.balancer.seedMs));
  }
}
