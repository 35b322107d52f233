/**
 * A set of interchangeable endpoints: takes what discovery says, learns how every attempt ended, and
 * keeps the lists that pickers draw from. Each of these is a part of its own; this is what the others of
 * core use.
 */
import type { Attempt, AttemptListener, EndpointRef, Outcome, Reply } from "../call.ts";
import type { EndpointSink } from "../discovery/discovery.ts";
import type { EndpointInfo } from "../endpoint-info.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Transport } from "../transport.ts";
import type { Endpoint } from "./endpoint.ts";
import { Guard } from "./guard.ts";
import type { EndpointLists } from "./lists.ts";
import { Members } from "./members.ts";
import { Outcomes } from "./outcomes.ts";
import { ClusterState, type ClusterOptions, type ClusterRecorder } from "./state.ts";
import { Traffic } from "./traffic.ts";

/** A client that waits for a connection needs one; the others are there for the case that it fails. */
const REACHED_AT_ONCE = 3;

export class Cluster<Req, R extends Reply> implements AttemptListener, EndpointSink {
  readonly name: string;
  readonly lists: EndpointLists<Req, R>;
  readonly endpoints: Map<string, Endpoint<Req, R>>;
  readonly #state: ClusterState<Req, R>;
  readonly #traffic: Traffic;
  readonly #guard: Guard<Req, R>;
  readonly #members: Members<Req, R>;
  readonly #outcomes: Outcomes<Req, R>;

  constructor(
    name: string,
    options: ClusterOptions,
    transport: Transport<Req, R>,
    recorder: ClusterRecorder,
    runtime: Runtime,
  ) {
    this.name = name;
    this.#state = new ClusterState(options, transport, recorder, runtime);
    this.lists = this.#state.lists;
    this.endpoints = this.#state.endpoints;
    this.#traffic = new Traffic(options.breaker);
    this.#guard = new Guard(this.#state, this.#traffic);
    this.#members = new Members(this.#state, this.#guard);
    this.#outcomes = new Outcomes(this.#state, this.#guard, this.#traffic);
  }

  /** What has to come before anything can be sent; undefined: nothing. */
  get ready(): Promise<void> | undefined {
    return this.#state.transport.ready;
  }

  /** Why the transport does not use what is configured. */
  get problem(): string | undefined {
    return this.#state.transport.problem;
  }

  /** There is an endpoint to pick: a weighted split leaves out a backend without any. */
  get usable(): boolean {
    const { available, reserve, ejected, panic } = this.lists;
    return available.length > 0 || reserve.length > 0 || (panic && ejected.length > 0);
  }

  /** An endpoint that may be picked has a connection. O(n): for those who ask, never for a call. */
  get connected(): boolean {
    const has = ({ connection }: Endpoint<Req, R>): boolean => connection?.connected === true;
    const { available, reserve, ejected, panic } = this.lists;
    return available.some(has) || reserve.some(has) || (panic && ejected.some(has));
  }

  /** Attempts in progress, over all endpoints. O(n): for drains and snapshots. */
  get inFlight(): number {
    let sum = 0;
    for (const { inFlight } of this.#state.every()) sum += inFlight;
    return sum;
  }

  /** Those that were removed lately. */
  get departed(): ReadonlyMap<string, Endpoint<Req, R>> {
    return this.#state.departed;
  }

  /** Attempts that wait for the first answer of discovery. */
  get waiting(): number {
    return this.#members.waiting;
  }

  // ── configuration ────────────────────────────────────────────────────────────────────────────

  /** New settings: endpoints keep all they have learned, and their connections. */
  configure(options: ClusterOptions): void {
    this.#state.options = options;
    this.#traffic.configure(options.breaker);
    for (const endpoint of this.#state.every()) {
      endpoint.configure(options.balancer, options.breaker);
    }
    this.#guard.judge();
  }

  /** New attempts get new connections; the old ones end with their attempts, within the grace. */
  reconnect(transport: Transport<Req, R>): void {
    this.#state.transport = transport;
    for (const endpoint of this.#state.every()) {
      this.#state.disconnect(endpoint);
      this.#guard.retryNow(endpoint);
    }
  }

  // ── discovery ────────────────────────────────────────────────────────────────────────────────

  /** Discovery has answered at least once. */
  get known(): boolean {
    return this.#members.known;
  }

  /** The last report of discovery was a failure. */
  get stale(): Error | undefined {
    return this.#members.stale;
  }

  /** How discovery knows that there are none, if it says so. */
  get emptyBecause(): string | undefined {
    return this.#members.emptyBecause;
  }

  /** Asks discovery to look again; set by the service that watches. */
  set onSuspicion(ask: (() => void) | undefined) {
    this.#state.onSuspicion = ask;
  }

  /** A promise: the set is large, and applied in turns. Nothing may be reported before it resolves. */
  replace(infos: readonly EndpointInfo[], why?: string): void | Promise<void> {
    return this.#members.replace(infos, why);
  }

  change(
    upserted: readonly EndpointInfo[],
    removed: readonly EndpointInfo[],
  ): void | Promise<void> {
    return this.#members.change(upserted, removed);
  }

  failed(error: Error): void {
    this.#members.failed(error);
  }

  /** Resolves when discovery has said something, or after `patienceMs`. */
  whenKnown(patienceMs: number): Promise<void> {
    return this.#members.whenKnown(patienceMs);
  }

  // ── attempts ─────────────────────────────────────────────────────────────────────────────────

  /** Accounts for an attempt about to be sent, and says where it goes. */
  begin(attempt: Attempt<Req>, endpoint: Endpoint<Req, R>, now: number): void {
    attempt.endpoint = endpoint;
    attempt.startedAt = now;
    attempt.stallMark = this.#state.runtime.loop.enter(now);
    attempt.cluster = this;
    endpoint.started(attempt);
    if (endpoint.breaker.state === "half-open" && endpoint.probe === undefined) {
      endpoint.probe = attempt;
    }
    this.#state.connectionOf(endpoint);
  }

  /** An attempt has waited for the first answer of discovery. */
  waited(ms: number): void {
    this.#state.recorder.waited(ms);
  }

  /** An attempt, one of a sample, is handed over so long after its call began. */
  handedOver(ms: number): void {
    this.#state.recorder.handedOver(ms);
  }

  answered(attempt: Attempt): void {
    (attempt.endpoint as Endpoint<Req, R>).answered(attempt);
  }

  costOf(endpoint: EndpointRef): number {
    const now = this.#state.runtime.now();
    return (endpoint as Endpoint<Req, R>).cost(now, this.peerMedian(now));
  }

  hasAnother(attempt: Attempt): boolean {
    const now = this.#state.runtime.now();
    const { tried } = attempt.call;
    for (const endpoint of this.lists.available) {
      if (endpoint === attempt.endpoint || tried?.includes(endpoint) === true) continue;
      if (endpoint.breaker.state === "closed" && endpoint.busyUntil <= now) return true;
    }
    return false;
  }

  settled(attempt: Attempt, outcome: Outcome): void {
    this.#outcomes.settled(attempt, outcome);
  }

  /** Lower median of the estimates of the endpoints in use; at most 100 ms old. */
  peerMedian(now: number): number {
    return this.#outcomes.peerMedian(now);
  }

  // ── its connections, and its end ─────────────────────────────────────────────────────────────

  /**
   * Connects to a few endpoints that may be picked. True as soon as one of them has a connection, false
   * if none has. Those that are out are dialled when their pause is over, and not for this.
   */
  async reach(): Promise<boolean> {
    const { available, reserve, ejected, panic } = this.lists;
    const from = [available, reserve, panic ? ejected : []].find((list) => list.length > 0) ?? [];
    const first = Math.floor(this.#state.runtime.random() * from.length);
    const chosen = Array.from(
      { length: Math.min(REACHED_AT_ONCE, from.length) },
      (_, i) => from[(first + i) % from.length]!,
    );
    const probes = chosen.map(async (endpoint) => {
      if (!(await this.#state.connectionOf(endpoint).probe())) throw new Error("not reached");
    });
    return Promise.any(probes).then(
      () => true,
      () => false,
    );
  }

  /** Drops all endpoints and closes their connections: attempts in flight have `graceMs`. */
  rest(graceMs: number): Promise<void> {
    return this.#members.clear(graceMs);
  }

  /** As `rest`, and for good: waiting calls are woken and fail. Idempotent. */
  async close(graceMs: number): Promise<void> {
    this.#state.closed = true;
    this.#members.wake();
    await this.rest(graceMs);
  }
}
