/** A runtime whose timers run `factor` times as fast as they say; its clock agrees. */
import { NodeRuntime, type Timer } from "@inmesh/core/spi";

export class FastRuntime extends NodeRuntime {
  readonly #factor: number;

  constructor(factor: number) {
    super();
    this.#factor = factor;
  }

  override now(): number {
    return super.now() * this.#factor;
  }

  override after<A>(delayMs: number, run: (arg: A) => void, arg: A, hold?: boolean): Timer {
    return super.after(delayMs / this.#factor, run, arg, hold);
  }
}
