/**
 * Notices that this process stood still for seconds: stopped, suspended with its machine, or deaf in a
 * loop. Connections that it had may be forgotten by their peers, and the first call on one would wait
 * for its whole deadline to learn that (faults.md L7). grpc-js has no way to ask a connection whether
 * it lives, so they are replaced; what is in flight goes on.
 */
import type { Runtime, Timer } from "@inmesh/core/spi";

const BEAT_MS = 2_500;
const FROZEN_MS = 5_000;

export class FreezeWatch {
  readonly #runtime: Runtime;
  readonly #users = new Set<() => void>();
  #timer: Timer | undefined = undefined;
  #frozenAfter = Infinity;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** Beats while there are users. `onThaw`: make new connections. Call what it returns once. */
  use(onThaw: () => void): () => void {
    this.#users.add(onThaw);
    if (this.#timer === undefined) this.#arm();
    return () => {
      this.#users.delete(onThaw);
      if (this.#users.size > 0) return;
      this.#timer?.cancel();
      this.#timer = undefined;
    };
  }

  /** Before a connection is used: calls of the turn in which a process wakes up come before its timers. */
  look(now: number): void {
    if (now <= this.#frozenAfter) return;
    this.#frozenAfter = now + BEAT_MS + FROZEN_MS;
    for (const thawed of this.#users) thawed();
  }

  #arm(): void {
    this.#frozenAfter = this.#runtime.now() + BEAT_MS + FROZEN_MS;
    this.#timer = this.#runtime.after(BEAT_MS, beat, this);
  }

  beat(): void {
    this.look(this.#runtime.now());
    this.#arm();
  }
}

function beat(watch: FreezeWatch): void {
  watch.beat();
}
