/**
 * The breakers of a cluster: opens and closes them, decides by their states in which list an endpoint
 * stands, and owns their timers, so that reading a state never changes it. The rules are
 * `breaker/breaker.ts`.
 */
import type { Attempt, Outcome, Reply } from "../call.ts";
import { reconnectMs, type BreakerTrigger } from "../breaker/breaker.ts";
import type { Timer } from "../runtime/runtime.ts";
import type { Endpoint } from "./endpoint.ts";
import {
  LIST_AVAILABLE,
  LIST_DOWN,
  LIST_DRAINING,
  LIST_EJECTED,
  LIST_ENDING,
  LIST_NONE,
  LIST_SPARE,
} from "./lists.ts";
import { judgePanic } from "./panic.ts";
import type { ClusterState } from "./state.ts";
import type { Traffic } from "./traffic.ts";

export class Guard<Req, R extends Reply> {
  readonly #state: ClusterState<Req, R>;
  readonly #traffic: Traffic;
  /** The last pause of each endpoint whose breaker has been open since it came. */
  readonly #pauses = new Map<Endpoint<Req, R>, Timer>();

  constructor(state: ClusterState<Req, R>, traffic: Traffic) {
    this.#state = state;
    this.#traffic = traffic;
  }

  // ── states ───────────────────────────────────────────────────────────────────────────────────

  open(endpoint: Endpoint<Req, R>, trigger: BreakerTrigger, now: number): void {
    const { endpoints, departed, runtime, onSuspicion } = this.#state;
    const { breaker, key } = endpoint;
    // Forgotten while its attempt ran: its timer would have no end.
    if (endpoints.get(key) !== endpoint && departed.get(key) !== endpoint) return;
    if (trigger === "connect") {
      onSuspicion?.();
      breaker.open(now, trigger, reconnectMs(breaker.step, runtime.random()));
    } else {
      const { window } = this.#traffic;
      const ms = breaker.openMs(endpoints.size, this.#traffic.rps(now), runtime.random());
      // It leaves the pool that its peers are compared with.
      window.subtract(breaker.window, now);
      breaker.open(now, trigger, ms);
    }
    this.#pause(endpoint, breaker.openUntil - now);
    this.#moved(endpoint);
  }

  /** The attempt that a half-open breaker let through has ended. */
  probed(endpoint: Endpoint<Req, R>, attempt: Attempt, outcome: Outcome, now: number): void {
    if (outcome === "success") this.#close(endpoint, now);
    else if (attempt.connectFailed) this.open(endpoint, "connect", now);
    // An abandoned probe has proved nothing: the slot is free for the next one.
    else if (outcome !== "abandoned") this.open(endpoint, "probe", now);
  }

  #close(endpoint: Endpoint<Req, R>, now: number): void {
    endpoint.breaker.close(now);
    endpoint.latency.reset();
    const { slowStartMs } = this.#state.options.balancer;
    if (slowStartMs > 0) endpoint.rampUntil = now + slowStartMs / 2;
    this.#moved(endpoint);
  }

  #moved(endpoint: Endpoint<Req, R>): void {
    this.place(endpoint);
    this.judge();
    this.#state.recorder.transition(endpoint);
  }

  /** Into the list that its state says, or out of all if it is not there any more. */
  place(endpoint: Endpoint<Req, R>): void {
    const { endpoints, lists } = this.#state;
    if (!endpoints.has(endpoint.key)) return lists.put(endpoint, LIST_NONE);
    const { breaker } = endpoint;
    endpoint.publish();
    if (endpoint.draining) {
      const isLastChoice = endpoint.info.serving !== false && breaker.state !== "open";
      lists.put(endpoint, isLastChoice ? LIST_DRAINING : LIST_ENDING);
    } else if (breaker.state === "open") {
      lists.put(endpoint, breaker.hard ? LIST_DOWN : LIST_EJECTED);
    } else lists.put(endpoint, endpoint.weight === 0 ? LIST_SPARE : LIST_AVAILABLE);
  }

  /** After every change of the set or of a state. */
  judge(): void {
    judgePanic(this.#state, this.#pauses);
  }

  // ── pauses ───────────────────────────────────────────────────────────────────────────────────

  #pause(endpoint: Endpoint<Req, R>, delayMs: number): void {
    this.#pauses.get(endpoint)?.cancel();
    const timer = this.#state.runtime.after(delayMs, (one) => this.#reconsider(one), endpoint);
    this.#pauses.set(endpoint, timer);
  }

  /** A removed endpoint is there again: its pause may have ended while it was away. */
  returned(endpoint: Endpoint<Req, R>): void {
    const { state, openUntil } = endpoint.breaker;
    if (state !== "open") return;
    this.#pause(endpoint, Math.max(0, openUntil - this.#state.runtime.now()));
  }

  /** What could not be reached may be reachable by another transport. */
  retryNow(endpoint: Endpoint<Req, R>): void {
    if (endpoint.breaker.hard && this.#pauses.has(endpoint)) this.#pause(endpoint, 0);
  }

  forget(endpoint: Endpoint<Req, R>): void {
    this.#pauses.get(endpoint)?.cancel();
    this.#pauses.delete(endpoint);
  }

  /** The pause is over: one request may try, or, where no connection came about, a handshake. */
  #reconsider(endpoint: Endpoint<Req, R>): void {
    const { closed, endpoints, runtime } = this.#state;
    if (closed || endpoint.breaker.state !== "open") return;
    // Nothing is dialled after discovery has taken it back (D17).
    if (endpoints.get(endpoint.key) !== endpoint) return;
    if (endpoint.breaker.hard) {
      void this.#handshake(endpoint);
      return;
    }
    endpoint.breaker.halfOpen(runtime.now());
    this.#moved(endpoint);
  }

  async #handshake(endpoint: Endpoint<Req, R>): Promise<void> {
    const state = this.#state;
    const { breaker } = endpoint;
    const reached = await state.connectionOf(endpoint).probe();
    if (state.closed || !breaker.hard || !this.#pauses.has(endpoint)) return;
    const now = state.runtime.now();
    if (reached) return this.#close(endpoint, now);
    breaker.open(now, "connect", reconnectMs(breaker.step, state.runtime.random()));
    this.#pause(endpoint, breaker.openUntil - now);
  }
}
