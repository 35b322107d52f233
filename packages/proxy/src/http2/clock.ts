/** What all connections of one owner share: when they write, and when they look at their clocks. */
import type { Runtime } from "@inmesh/core/spi";
import { Flushes } from "../flushes.ts";
import { Sweep } from "./sweep.ts";

export class Http2Clock {
  readonly runtime: Runtime;
  readonly flushes: Flushes;
  readonly sweep: Sweep;

  constructor(runtime: Runtime) {
    this.runtime = runtime;
    this.flushes = new Flushes(runtime);
    this.sweep = new Sweep(runtime);
  }
}
