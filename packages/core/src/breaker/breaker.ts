/**
 * When to stop using an endpoint, and for how long. This file is the state and the rules; the
 * cluster owns the timers and the lists, so the rules can be read and tested as arithmetic.
 *
 *   closed     attempts flow; the rules listen
 *   open       no attempts, until `openUntil` (failures) or a completed handshake (refused)
 *   half-open  exactly one attempt, whose own outcome decides
 */
import type { BreakerConfig } from "./options.ts";
import { SuccessWindow } from "./window.ts";

export type BreakerState = "closed" | "open" | "half-open";
/** What opened the breaker: a streak, the window's ratio, no connection, a failed probe. */
export type BreakerTrigger = "streak" | "ratio" | "connect" | "probe";

/** The options that concern one endpoint alone. */
export type BreakerOptions = Omit<BreakerConfig, "maxEjectedRatio">;

/** The first pause spans about this many requests that the endpoint would have had. */
const REQUESTS_PER_PAUSE = 10;
const MAX_BASE_MS = 10_000;
/** A pause is stretched by up to this share, so that callers that tripped together probe apart. */
const JITTER = 0.5;

export class Breaker {
  state: BreakerState = "closed";
  trigger: BreakerTrigger | undefined = undefined;
  /** Instant of the last change of state; outcomes of older attempts are no news. */
  changedAt: number = -Infinity;
  openUntil = 0;
  /** Instant at which it last left the closed state. */
  outSince = 0;
  /** Failures since the last success. */
  streak = 0;
  #streakStartedAt = 0;
  /** Times it opened without closing in between. */
  step = 0;
  window: SuccessWindow;
  #options: BreakerOptions;

  constructor(options: BreakerOptions) {
    this.#options = options;
    this.window = new SuccessWindow(options.windowMs);
  }

  /** New settings; the state and the streak stay. A window of another length starts empty. */
  configure(options: BreakerOptions): void {
    if (options.windowMs !== this.#options.windowMs) {
      this.window = new SuccessWindow(options.windowMs);
    }
    this.#options = options;
  }

  /** Open because the endpoint cannot be reached: a fact, not a verdict, so no cap applies. */
  get hard(): boolean {
    return this.trigger === "connect" && this.state !== "closed";
  }

  success(now: number): void {
    this.streak = 0;
    this.window.add(now, true);
  }

  /** Counts a failure; says what it trips, if anything. `peers` is the window of all endpoints. */
  failure(now: number, peers: SuccessWindow): BreakerTrigger | undefined {
    if (this.streak++ === 0) this.#streakStartedAt = now;
    this.window.add(now, false);
    const { consecutiveFailures, failureSpanMs } = this.#options;
    if (consecutiveFailures > 0 && this.streak >= consecutiveFailures) return "streak";
    if (failureSpanMs > 0 && this.streak >= 2 && now - this.#streakStartedAt >= failureSpanMs) {
      return "streak";
    }
    return this.#ratioTrips(now, peers) ? "ratio" : undefined;
  }

  /** Refused for load: an entry in the window, never in the streak. */
  overloaded(now: number, peers: SuccessWindow): BreakerTrigger | undefined {
    this.window.add(now, false);
    return this.#ratioTrips(now, peers) ? "ratio" : undefined;
  }

  #ratioTrips(now: number, peers: SuccessWindow): boolean {
    peers.advance(now);
    const peersTotal = peers.total - this.window.total;
    const peersRatio =
      peersTotal >= this.#options.minRequests
        ? (peers.success - this.window.success) / peersTotal
        : undefined;
    return ratioTrips(this.window.total, this.window.success, peersRatio, this.#options);
  }

  /** How long to stay open this time. `rps`: this process's rate to all `endpoints` together. */
  openMs(endpoints: number, rps: number, u: number): number {
    const { minOpenMs, maxOpenMs } = this.#options;
    return openMs(baseMs(endpoints, rps, minOpenMs), this.step, u, maxOpenMs);
  }

  open(now: number, trigger: BreakerTrigger, pauseMs: number): void {
    if (this.state === "closed") this.outSince = now;
    this.state = "open";
    this.trigger = trigger;
    this.changedAt = now;
    this.openUntil = now + pauseMs;
    this.step++;
  }

  halfOpen(now: number): void {
    this.state = "half-open";
    this.changedAt = now;
  }

  close(now: number): void {
    const { consecutiveFailures } = this.#options;
    // A completed handshake proves less than an answered request: the next failure opens again.
    this.streak = this.hard && consecutiveFailures > 0 ? consecutiveFailures - 1 : 0;
    this.#streakStartedAt = now;
    this.state = "closed";
    this.trigger = undefined;
    this.changedAt = now;
    this.step = 0;
    this.window.clear();
  }
}

/** An endpoint is judged by its peers too: when all fail alike, ejecting one does not help. */
export function ratioTrips(
  total: number,
  success: number,
  peersRatio: number | undefined,
  options: Pick<BreakerOptions, "successRatio" | "peerMargin" | "minRequests">,
): boolean {
  if (total < options.minRequests || total === 0) return false;
  const ratio = success / total;
  // The epsilon keeps 0.95 - 0.2 from being less than 0.75 in binary fractions.
  return (
    ratio < options.successRatio &&
    (peersRatio === undefined || ratio < peersRatio - options.peerMargin - 1e-9)
  );
}

/** A pause of ten of the endpoint's requests: one second is no pause for two requests a second. */
export function baseMs(endpoints: number, rps: number, minOpenMs: number): number {
  const ms = rps > 0 ? (1000 * REQUESTS_PER_PAUSE * endpoints) / rps : MAX_BASE_MS;
  return Math.max(minOpenMs, Math.min(Math.max(MAX_BASE_MS, minOpenMs), ms));
}

export function openMs(base: number, step: number, u: number, maxMs: number): number {
  return Math.min(maxMs, Math.min(maxMs, base * 2 ** step) * (1 + JITTER * u));
}

/** Verdicts on failures are enforced while no more endpoints than this are out. */
export function ejectionCap(endpoints: number, maxEjectedRatio: number): number {
  if (maxEjectedRatio === 0) return 0;
  return Math.max(0, Math.min(endpoints - 1, Math.max(1, Math.floor(maxEjectedRatio * endpoints))));
}

/** Pause before the next handshake with an endpoint that refused one. Full jitter. */
export function reconnectMs(step: number, u: number): number {
  return Math.min(10_000, 100 * 2 ** step) * u;
}
