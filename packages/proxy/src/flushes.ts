/** Writes what connections have gathered, or have to send, once for each turn of the event loop. */
import type { Runtime } from "@inmesh/core/spi";
import { Defects } from "./defects.ts";

/** What writes when the reads of a turn have been handled. */
export interface Flushed {
  flushNow(): void;
  /** After an error of the proxy's own. */
  destroy(): void;
}

export class Flushes {
  readonly #runtime: Runtime;
  #waiting: Flushed[] = [];
  readonly #run = (): void => this.#flush();

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  add(one: Flushed): void {
    if (this.#waiting.push(one) === 1) this.#runtime.afterIo(this.#run);
  }

  #flush(): void {
    const waiting = this.#waiting;
    // A new one: to empty an array costs V8 a call of its runtime, and gives its memory away all the same.
    this.#waiting = [];
    for (const one of waiting) {
      try {
        one.flushNow();
      } catch (error) {
        Defects.of(this.#runtime).end(error, one);
      }
    }
  }
}
