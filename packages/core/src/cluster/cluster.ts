/**
 * A set of interchangeable endpoints: takes what discovery says, hears how every attempt ended, and
 * keeps the lists that pickers draw from. It owns every timer of its breakers, so that reading a
 * state never changes it.
 */
import type { Attempt, AttemptListener, Outcome, Reply } from "../call.ts";
import { ejectionCap, reconnectMs, type BreakerTrigger } from "../breaker/breaker.ts";
import { SuccessWindow } from "../breaker/window.ts";
import type { BalancerConfig, BreakerConfig } from "../config/types.ts";
import type { EndpointSink } from "../discovery/discovery.ts";
import type { EndpointInfo } from "../endpoint-info.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";
import type { Transport } from "../transport.ts";
import { Endpoint, endpointKey } from "./endpoint.ts";
import { peerMedian } from "./latency.ts";
import {
  EndpointLists,
  LIST_AVAILABLE,
  LIST_DOWN,
  LIST_EJECTED,
  LIST_NONE,
  LIST_SPARE,
} from "./lists.ts";

/** A deadline shorter than this says more about the deadline than about the endpoint. */
const MIN_TIMEOUT_MS = 50;
const MEDIAN_REFRESH_MS = 100;
/** Enough estimates for a median that decides nothing but an order of magnitude. */
const MEDIAN_SAMPLE = 101;
/** A client that waits for a connection needs one; the others are there for the case that it fails. */
const REACHED_AT_ONCE = 3;
/** A removed endpoint that comes back within this time is the same one. */
const REMEMBER_MS = 60_000;
const MAX_BUSY_MS = 60_000;

export interface ClusterOptions {
  readonly balancer: BalancerConfig;
  readonly breaker: BreakerConfig;
  readonly maxEndpoints: number;
  readonly drainGraceMs: number;
}

/** What the cluster tells telemetry, the log and observers. Called when the change has been made. */
export interface ClusterRecorder {
  /** The breaker of the endpoint has changed its state. */
  transition(endpoint: Endpoint): void;
  /** An endpoint of discovery came, went, or got another weight. */
  changed(endpoint: Endpoint, kind: "added" | "removed" | "weight"): void;
  suppressed(): void;
  panic(on: boolean): void;
  updated(added: number, removed: number): void;
  /** Endpoints of the last answer of discovery that `maxEndpoints` had no room for; 0: it had. */
  excess(count: number, maxEndpoints: number): void;
  /** Discovery has answered. */
  answered(): void;
  /** Discovery has said that it cannot tell. */
  failed(error: Error): void;
}

interface Timers {
  breaker: Timer | undefined;
  forget: Timer | undefined;
}

export class Cluster<Req, R extends Reply> implements AttemptListener, EndpointSink {
  readonly name: string;
  readonly lists: EndpointLists<Req, R> = new EndpointLists<Req, R>();
  readonly endpoints: Map<string, Endpoint<Req, R>> = new Map();
  /** Discovery has answered at least once. */
  known = false;
  /** The last thing discovery said was that it cannot tell. */
  stale: Error | undefined = undefined;
  /** How discovery knows that there are none, if it says so. */
  emptyBecause: string | undefined = undefined;
  /** Asks discovery to look again; set by the service that watches. */
  onSuspicion: (() => void) | undefined = undefined;
  #options: ClusterOptions;
  #transport: Transport<Req, R>;
  readonly #recorder: ClusterRecorder;
  readonly #runtime: Runtime;
  /** Removed lately: their counters and connections are kept for a while. */
  readonly #departed = new Map<string, Endpoint<Req, R>>();
  readonly #timers = new Map<Endpoint<Req, R>, Timers>();
  #window: SuccessWindow;
  #trafficSince = -1;
  #median: number;
  #medianAt = -Infinity;
  /** Number of the last whole set that discovery gave. */
  #generation = 0;
  #waiters: (() => void)[] = [];
  #closed = false;

  constructor(
    name: string,
    options: ClusterOptions,
    transport: Transport<Req, R>,
    recorder: ClusterRecorder,
    runtime: Runtime,
  ) {
    this.name = name;
    this.#options = options;
    this.#transport = transport;
    this.#recorder = recorder;
    this.#runtime = runtime;
    this.#window = new SuccessWindow(options.breaker.windowMs);
    this.#median = options.balancer.seedMs;
  }

  /** Why the transport does not use what is configured. */
  /** What has to come before anything can be sent; undefined: nothing. */
  get ready(): Promise<void> | undefined {
    return this.#transport.ready;
  }

  get problem(): string | undefined {
    return this.#transport.problem;
  }

  /** There is an endpoint to pick: a weighted split leaves out a backend without any. */
  get usable(): boolean {
    const { available, spare, ejected, panic } = this.lists;
    return available.length > 0 || spare.length > 0 || (panic && ejected.length > 0);
  }

  /** An endpoint that may be picked has a connection. O(n): for those who ask, never for a call. */
  get connected(): boolean {
    const has = ({ connection }: Endpoint<Req, R>): boolean => connection?.connected === true;
    const { available, spare, ejected, panic } = this.lists;
    return available.some(has) || spare.some(has) || (panic && ejected.some(has));
  }

  /** Attempts in progress, over all endpoints. O(n): for drains and snapshots. */
  get inFlight(): number {
    let sum = 0;
    for (const endpoint of this.endpoints.values()) sum += endpoint.inFlight;
    for (const endpoint of this.#departed.values()) sum += endpoint.inFlight;
    return sum;
  }

  // ── configuration ────────────────────────────────────────────────────────────────────────────

  /** New settings: endpoints keep all they have learned, and their connections. */
  configure(options: ClusterOptions): void {
    const { windowMs } = this.#options.breaker;
    this.#options = options;
    if (options.breaker.windowMs !== windowMs) {
      this.#window = new SuccessWindow(options.breaker.windowMs);
    }
    for (const endpoint of this.#everyEndpoint()) {
      endpoint.configure(options.balancer, options.breaker);
    }
    this.#judge();
  }

  /** New attempts get new connections; the old ones end with their attempts, within the grace. */
  reconnect(transport: Transport<Req, R>): void {
    this.#transport = transport;
    for (const endpoint of this.#everyEndpoint()) {
      void endpoint.connection?.close(this.#options.drainGraceMs);
      endpoint.connection = undefined;
      // What could not be reached that way may be reachable this way.
      if (endpoint.breaker.hard && this.#timers.has(endpoint)) this.#after(endpoint, 0);
    }
  }

  #everyEndpoint(): Endpoint<Req, R>[] {
    return [...this.endpoints.values(), ...this.#departed.values()];
  }

  // ── discovery ────────────────────────────────────────────────────────────────────────────────

  /** Looks at every entry once; everything after that is proportional to what has changed. */
  replace(infos: readonly EndpointInfo[], why?: string): void {
    if (this.#closed) return;
    this.emptyBecause = why;
    const generation = ++this.#generation;
    const fresh: EndpointInfo[] = [];
    let staying = 0;
    for (const info of infos) {
      const endpoint = this.endpoints.get(endpointKey(info));
      if (endpoint === undefined) {
        fresh.push(info);
        continue;
      }
      if (endpoint.generation !== generation) staying++;
      endpoint.generation = generation;
      this.#reweigh(endpoint, info);
    }
    const gone: string[] = [];
    if (staying < this.endpoints.size) {
      for (const { key, generation: last } of this.endpoints.values()) {
        if (last !== generation) gone.push(key);
      }
    }
    this.#apply(fresh, gone);
  }

  change(upserted: readonly EndpointInfo[], removed: readonly EndpointInfo[]): void {
    this.emptyBecause = undefined;
    this.#apply(upserted, removed.map(endpointKey));
  }

  failed(error: Error): void {
    this.stale = error;
    this.#recorder.failed(error);
  }

  #apply(upserted: readonly EndpointInfo[], removed: readonly string[]): void {
    if (this.#closed) return;
    const fresh = this.endpoints.size > 0;
    let added = 0;
    let excess = 0;
    for (const key of removed) this.#remove(key);
    for (const info of upserted) {
      const key = endpointKey(info);
      const present = this.endpoints.get(key);
      if (present !== undefined) {
        this.#reweigh(present, info);
      } else if (this.endpoints.size >= this.#options.maxEndpoints) {
        excess++;
      } else {
        this.#add(key, info, fresh);
        added++;
      }
    }
    this.known = true;
    this.stale = undefined;
    this.#judge();
    if (added > 0 || removed.length > 0) this.#recorder.updated(added, removed.length);
    this.#recorder.excess(excess, this.#options.maxEndpoints);
    this.#recorder.answered();
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }

  #add(key: string, info: EndpointInfo, joinsOthers: boolean): void {
    let endpoint = this.#departed.get(key);
    if (endpoint === undefined) {
      const { balancer, breaker } = this.#options;
      endpoint = new Endpoint<Req, R>(key, info, balancer, breaker);
      // The first set has nobody to protect; a newcomer among busy peers starts with a small share.
      if (joinsOthers) endpoint.rampUntil = this.#runtime.now() + balancer.slowStartMs;
    } else {
      this.#departed.delete(key);
      this.#timers.get(endpoint)?.forget?.cancel();
      this.#reweigh(endpoint, info);
      // Its pause may have ended while it was away.
      const { state, openUntil } = endpoint.breaker;
      if (state === "open") this.#after(endpoint, Math.max(0, openUntil - this.#runtime.now()));
    }
    this.endpoints.set(key, endpoint);
    this.#place(endpoint);
    this.#recorder.changed(endpoint, "added");
  }

  #reweigh(endpoint: Endpoint<Req, R>, info: EndpointInfo): void {
    const weight = info.weight ?? 1;
    endpoint.info = info;
    if (weight === endpoint.weight) return;
    endpoint.weight = weight;
    const isPresent = this.endpoints.has(endpoint.key);
    if (isPresent) this.#place(endpoint);
    this.lists.version++;
    if (isPresent) this.#recorder.changed(endpoint, "weight");
  }

  #remove(key: string): void {
    const endpoint = this.endpoints.get(key);
    if (endpoint === undefined) return;
    this.endpoints.delete(key);
    this.lists.put(endpoint, LIST_NONE);
    this.#recorder.changed(endpoint, "removed");
    this.#departed.set(key, endpoint);
    this.#timersOf(endpoint).forget = this.#runtime.after(
      REMEMBER_MS,
      (one) => this.#forget(one),
      endpoint,
    );
    // Oldest first: the memory of absences is bounded like the set itself.
    if (this.#departed.size > this.#options.maxEndpoints) {
      this.#forget(this.#departed.values().next().value!);
    }
  }

  #forget(endpoint: Endpoint<Req, R>): void {
    this.#departed.delete(endpoint.key);
    const timers = this.#timers.get(endpoint);
    timers?.breaker?.cancel();
    timers?.forget?.cancel();
    this.#timers.delete(endpoint);
    void endpoint.connection?.close(this.#options.drainGraceMs);
    endpoint.connection = undefined;
  }

  /** Resolves when discovery has said something, or after `patienceMs`. */
  whenKnown(patienceMs: number): Promise<void> {
    if (this.known || this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        timer.cancel();
        resolve();
      };
      const timer = this.#runtime.after(
        patienceMs,
        () => {
          this.#waiters = this.#waiters.filter((one) => one !== wake);
          resolve();
        },
        undefined,
        true,
      );
      this.#waiters.push(wake);
    });
  }

  // ── attempts ─────────────────────────────────────────────────────────────────────────────────

  /** Accounts for an attempt about to be sent, and says where it goes. */
  begin(attempt: Attempt<Req>, endpoint: Endpoint<Req, R>, now: number): void {
    attempt.endpoint = endpoint;
    attempt.startedAt = now;
    attempt.stallMark = this.#runtime.loop.enter(now);
    attempt.cluster = this;
    endpoint.started(attempt);
    if (endpoint.breaker.state === "half-open" && endpoint.probe === undefined) {
      endpoint.probe = attempt;
    }
    endpoint.connection ??= this.#transport.connect(endpoint.info);
  }

  answered(attempt: Attempt): void {
    (attempt.endpoint as Endpoint<Req, R>).answered(attempt);
  }

  hasAnother(attempt: Attempt): boolean {
    const now = this.#runtime.now();
    const { tried } = attempt.call;
    for (const endpoint of this.lists.available) {
      if (endpoint === attempt.endpoint || tried?.includes(endpoint) === true) continue;
      if (endpoint.breaker.state === "closed" && endpoint.busyUntil <= now) return true;
    }
    return false;
  }

  settled(attempt: Attempt, outcome: Outcome): void {
    const endpoint = attempt.endpoint as Endpoint<Req, R>;
    const now = this.#runtime.now();
    attempt.endedAt = now;
    endpoint.ended(attempt);
    const g = this.peerMedian(now);
    // The time this process was held up is not the endpoint's.
    const stalledMs = this.#runtime.loop.leave(now) - attempt.stallMark;
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
      if (endpoint.breaker.state === "half-open") this.#probed(endpoint, attempt, outcome, now);
      return;
    }
    const { breaker } = endpoint;
    const old = attempt.startedAt < breaker.changedAt;
    if (attempt.connectFailed && outcome === "failure") {
      // A fact, whatever the verdicts say, unless it has healed since: in panic an ejected endpoint
      // is still picked, and one that refuses connections must leave.
      if (!breaker.hard && !(old && breaker.state === "closed"))
        this.#open(endpoint, "connect", now);
      return;
    }
    // News from before the last change of state is no news.
    if (breaker.state !== "closed" || old) return;
    if (outcome === "abandoned") return;
    // It said until when: that is an answer, and it is spared so long. Verdicts are for who does not.
    if (outcome === "overloaded" && attempt.busyForMs > 0) return;
    if (this.#trafficSince < 0) this.#trafficSince = attempt.startedAt;
    this.#window.add(now, outcome === "success");
    if (outcome === "success") return endpoint.breaker.success(now);
    const trigger =
      outcome === "overloaded"
        ? endpoint.breaker.overloaded(now, this.#window)
        : endpoint.breaker.failure(now, this.#window);
    if (trigger !== undefined) this.#open(endpoint, trigger, now);
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
    const { penaltyFactor, callerFaultFactor } = this.#options.balancer;
    switch (outcome) {
      case "success":
        latency.observe(now, elapsedMs, attempt.callerFault, g);
        if (attempt.callerFault) latency.penalise(now, callerFaultFactor, g);
        else latency.forgive(now);
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
    const { available } = this.lists;
    const stride = Math.max(1, Math.floor(available.length / MEDIAN_SAMPLE));
    const estimates: number[] = [];
    for (let i = 0; i < available.length; i += stride) {
      const { estimate } = available[i]!.latency;
      if (estimate >= 0) estimates.push(estimate);
    }
    return (this.#median = peerMedian(estimates, this.#options.balancer.seedMs));
  }

  // ── breakers ─────────────────────────────────────────────────────────────────────────────────

  #open(endpoint: Endpoint<Req, R>, trigger: BreakerTrigger, now: number): void {
    const { breaker, key } = endpoint;
    // Forgotten while its attempt ran: nobody would end the timer.
    if (this.endpoints.get(key) !== endpoint && this.#departed.get(key) !== endpoint) return;
    if (trigger === "connect") {
      this.onSuspicion?.();
      breaker.open(now, trigger, reconnectMs(breaker.step, this.#runtime.random()));
    } else {
      const span = Math.min(
        this.#options.breaker.windowMs,
        Math.max(1000, now - this.#trafficSince),
      );
      this.#window.advance(now);
      const rps = (1000 * this.#window.total) / span;
      const ms = breaker.openMs(this.endpoints.size, rps, this.#runtime.random());
      // It leaves the pool that its peers are compared with.
      this.#window.subtract(breaker.window, now);
      breaker.open(now, trigger, ms);
    }
    this.#place(endpoint);
    this.#judge();
    this.#after(endpoint, breaker.openUntil - now);
    this.#recorder.transition(endpoint);
  }

  #after(endpoint: Endpoint<Req, R>, delayMs: number): void {
    const timers = this.#timersOf(endpoint);
    timers.breaker?.cancel();
    timers.breaker = this.#runtime.after(delayMs, (one) => this.#reconsider(one), endpoint);
  }

  /** The pause is over: one request may try, or, where no connection came about, a handshake. */
  #reconsider(endpoint: Endpoint<Req, R>): void {
    if (this.#closed || endpoint.breaker.state !== "open") return;
    // Nobody is dialled after discovery has taken it back (D17).
    if (this.endpoints.get(endpoint.key) !== endpoint) return;
    if (endpoint.breaker.hard) {
      void this.#shakeHands(endpoint);
      return;
    }
    endpoint.breaker.halfOpen(this.#runtime.now());
    this.#place(endpoint);
    this.#judge();
    this.#recorder.transition(endpoint);
  }

  async #shakeHands(endpoint: Endpoint<Req, R>): Promise<void> {
    endpoint.connection ??= this.#transport.connect(endpoint.info);
    const reached = await endpoint.connection.probe();
    if (this.#closed || !endpoint.breaker.hard || !this.#timers.has(endpoint)) return;
    const now = this.#runtime.now();
    if (reached) return this.#close(endpoint, now);
    endpoint.breaker.open(
      now,
      "connect",
      reconnectMs(endpoint.breaker.step, this.#runtime.random()),
    );
    this.#after(endpoint, endpoint.breaker.openUntil - now);
  }

  /**
   * Connects to a few endpoints that may be picked. True as soon as one of them has a connection, false
   * if none has. Those that are out are dialled when their pause is over, and not for this.
   */
  async reach(): Promise<boolean> {
    const { available, spare, ejected, panic } = this.lists;
    const from = [available, spare, panic ? ejected : []].find((list) => list.length > 0) ?? [];
    const first = Math.floor(this.#runtime.random() * from.length);
    const chosen = Array.from(
      { length: Math.min(REACHED_AT_ONCE, from.length) },
      (_, i) => from[(first + i) % from.length]!,
    );
    return new Promise((resolve) => {
      let left = chosen.length;
      if (left === 0) resolve(false);
      for (const endpoint of chosen) {
        endpoint.connection ??= this.#transport.connect(endpoint.info);
        void endpoint.connection.probe().then((reached) => {
          left--;
          if (reached || left === 0) resolve(reached);
        });
      }
    });
  }

  #probed(endpoint: Endpoint<Req, R>, attempt: Attempt, outcome: Outcome, now: number): void {
    if (outcome === "success") this.#close(endpoint, now);
    else if (attempt.connectFailed) this.#open(endpoint, "connect", now);
    // An abandoned probe has proved nothing: the slot is free for the next one.
    else if (outcome !== "abandoned") this.#open(endpoint, "probe", now);
  }

  #close(endpoint: Endpoint<Req, R>, now: number): void {
    endpoint.breaker.close(now);
    endpoint.latency.reset();
    const { slowStartMs } = this.#options.balancer;
    if (slowStartMs > 0) endpoint.rampUntil = now + slowStartMs / 2;
    this.#place(endpoint);
    this.#judge();
    this.#recorder.transition(endpoint);
  }

  #place(endpoint: Endpoint<Req, R>): void {
    if (!this.endpoints.has(endpoint.key)) return this.lists.put(endpoint, LIST_NONE);
    const { breaker } = endpoint;
    endpoint.publish();
    if (breaker.state === "open") {
      this.lists.put(endpoint, breaker.hard ? LIST_DOWN : LIST_EJECTED);
    } else this.lists.put(endpoint, endpoint.weight === 0 ? LIST_SPARE : LIST_AVAILABLE);
  }

  /** Are the verdicts on failures so many that the verdicts are to be doubted? */
  #judge(): void {
    const judged = this.endpoints.size - this.lists.down.length;
    const cap = ejectionCap(judged, this.#options.breaker.maxEjectedRatio);
    let out = this.lists.ejected.length;
    if (out <= cap && out + this.#timers.size > cap) {
      for (const endpoint of this.#timers.keys()) {
        if (endpoint.breaker.state === "half-open" && this.endpoints.has(endpoint.key)) out++;
      }
    }
    const panic = out > cap;
    if (panic) this.#recorder.suppressed();
    if (panic === this.lists.panic) return;
    this.lists.panic = panic;
    this.#recorder.panic(panic);
  }

  #timersOf(endpoint: Endpoint<Req, R>): Timers {
    let timers = this.#timers.get(endpoint);
    if (timers === undefined) {
      timers = { breaker: undefined, forget: undefined };
      this.#timers.set(endpoint, timers);
    }
    return timers;
  }

  /** Drops all endpoints and closes their connections: attempts in flight have `graceMs`. */
  async rest(graceMs: number): Promise<void> {
    const closing: Promise<void>[] = [];
    for (const endpoint of this.#everyEndpoint()) {
      const timers = this.#timers.get(endpoint);
      timers?.breaker?.cancel();
      timers?.forget?.cancel();
      this.lists.put(endpoint, LIST_NONE);
      if (endpoint.connection !== undefined) closing.push(endpoint.connection.close(graceMs));
    }
    this.endpoints.clear();
    this.#departed.clear();
    this.#timers.clear();
    this.known = false;
    this.lists.panic = false;
    await Promise.all(closing);
  }

  /** As `rest`, and for good: waiting calls are woken and told. Idempotent. */
  async close(graceMs: number): Promise<void> {
    this.#closed = true;
    for (const wake of this.#waiters) wake();
    this.#waiters = [];
    await this.rest(graceMs);
  }
}
