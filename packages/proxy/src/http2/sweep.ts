/** One clock for all connections: each is looked at once a second, and no frame reads the time. */
import type { Runtime } from "@inmesh/core/spi";
import { Defects } from "../defects.ts";

const TICK_MS = 1_000;

interface Swept {
  tick(): void;
  /** After an error of the proxy's own. */
  destroy(): void;
}

export class Sweep {
  readonly #runtime: Runtime;
  readonly #all = new Set<Swept>();
  #running = false;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  add(one: Swept): void {
    this.#all.add(one);
    if (this.#running) return;
    this.#running = true;
    this.#runtime.after(TICK_MS, tick, this);
  }

  remove(one: Swept): void {
    this.#all.delete(one);
  }

  /** Writer: its timer. */
  tick(): void {
    for (const one of this.#all) {
      try {
        one.tick();
      } catch (error) {
        Defects.of(this.#runtime).end(error, one);
      }
    }
    if (this.#all.size === 0) this.#running = false;
    else this.#runtime.after(TICK_MS, tick, this);
  }
}

function tick(sweep: Sweep): void {
  sweep.tick();
}
