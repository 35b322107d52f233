/**
 * The connectivity of a mesh's channel, as grpc-js documents it for its own, for a set of endpoints: READY
 * when one of them has a connection that can take a call. What it depends on (discovery, breakers,
 * connections) changes in many places and is asked for by few, so it is looked at while it is watched.
 */
import { AsyncResource } from "node:async_hooks";
import { connectivityState } from "@grpc/grpc-js";
import type { Service, Timer } from "@inmesh/core/spi";
import type { Deadline } from "../call-types.ts";
import type { GrpcReply } from "./reply.ts";
import type { GrpcRequest } from "./request.ts";

interface Watcher {
  readonly from: connectivityState;
  /** On the runtime's clock. */
  readonly deadlineAt: number;
  readonly callback: (error?: Error) => void;
}

/** A caller waits for it: checked this often at first, and ever more rarely. */
const FIRST_LOOK_MS = 10;
const LAST_LOOK_MS = 250;
/** From an attempt to connect that failed to the next. */
const RETRY_MS = 1_000;
/** In the words of grpc-js. */
const SHUT_DOWN = "Channel has been shut down";
const TOO_LATE = "Deadline passed without connectivity state change";

export class Connectivity {
  readonly #service: Service<GrpcRequest, GrpcReply>;
  readonly #watchers = new Set<Watcher>();
  #closed = false;
  /** The application has asked for a connection. */
  #wanted = false;
  #reaching = false;
  #failed = false;
  #retryAt = 0;
  #timer: Timer | undefined = undefined;
  #lookMs = FIRST_LOOK_MS;

  constructor(service: Service<GrpcRequest, GrpcReply>) {
    this.#service = service;
  }

  /** `connect`: without a connection one is made, as for a call. The state is the one before that. */
  state(connect: boolean): connectivityState {
    const state = this.#state();
    if (connect) {
      this.#wanted = true;
      this.#reach(state);
    }
    return state;
  }

  #state(): connectivityState {
    if (this.#closed) return connectivityState.SHUTDOWN;
    switch (this.#service.reachability) {
      case "closed":
        return connectivityState.SHUTDOWN;
      case "connected":
        return connectivityState.READY;
      case "unreachable":
        return connectivityState.TRANSIENT_FAILURE;
      case "pending":
        return connectivityState.CONNECTING;
      case "asleep":
      case "unconnected":
        if (this.#reaching) return connectivityState.CONNECTING;
        return this.#failed ? connectivityState.TRANSIENT_FAILURE : connectivityState.IDLE;
    }
  }

  #reach(state: connectivityState): void {
    if (state !== connectivityState.IDLE && state !== connectivityState.TRANSIENT_FAILURE) return;
    const { runtime } = this.#service;
    if (this.#reaching || runtime.now() < this.#retryAt) return;
    this.#reaching = true;
    void this.#service.reach().then((reached) => {
      this.#reaching = false;
      this.#failed = !reached;
      this.#retryAt = reached ? 0 : runtime.now() + RETRY_MS;
      if (this.#watchers.size > 0) this.#look();
    });
  }

  /**
   * Calls back once: without an error when the state is another than `from`, with one at `deadline`.
   * Throws when the channel is closed.
   */
  watch(from: connectivityState, deadline: Deadline, callback: (error?: Error) => void): void {
    if (this.#state() === connectivityState.SHUTDOWN) throw new Error(SHUT_DOWN);
    const { runtime } = this.#service;
    const leftMs = Number(deadline) - runtime.wallNow();
    if (!(leftMs > 0)) return process.nextTick(callback, new Error(TOO_LATE));
    const deadlineAt = runtime.now() + leftMs;
    this.#watchers.add({ from, deadlineAt, callback: AsyncResource.bind(callback) });
    this.#lookMs = FIRST_LOOK_MS;
    this.#arm(0);
  }

  /** Looks again in `delayMs`, or at the first deadline. Only one with an end keeps the process alive. */
  #arm(delayMs: number): void {
    this.#timer?.cancel();
    if (this.#watchers.size === 0) return;
    const { runtime } = this.#service;
    let first = Infinity;
    for (const { deadlineAt } of this.#watchers) first = Math.min(first, deadlineAt);
    const untilMs = Math.max(0, Math.min(delayMs, first - runtime.now()));
    this.#timer = runtime.after(untilMs, look, this, first !== Infinity);
  }

  look(): void {
    this.#look();
  }

  #look(): void {
    let state = this.#state();
    if (this.#wanted) {
      this.#reach(state);
      state = this.#state();
    }
    const now = this.#service.runtime.now();
    for (const watcher of this.#watchers) {
      const { from, deadlineAt, callback } = watcher;
      const changed = state !== from;
      if (!changed && now < deadlineAt) continue;
      this.#watchers.delete(watcher);
      // What it throws is the application's, and keeps the news from no other.
      process.nextTick(callback, changed ? undefined : new Error(TOO_LATE));
    }
    this.#arm(this.#lookMs);
    this.#lookMs = Math.min(LAST_LOOK_MS, this.#lookMs * 1.5);
  }

  /** The last change: all watchers are notified of it. */
  close(): void {
    this.#closed = true;
    this.#look();
  }
}

function look(connectivity: Connectivity): void {
  connectivity.look();
}
