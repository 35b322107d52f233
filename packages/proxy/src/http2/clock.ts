/** What all connections of one owner share: when they write, and when they look at their clocks. */
import type { Runtime } from "@inmesh/core/spi";
import { Flushes } from "../flushes.ts";
import { Sweep } from "./sweep.ts";

/** Of pings to servers that find them too many (faults.md G11). */
const MAX_PATIENCE = 8;

export class Http2Clock {
  readonly runtime: Runtime;
  readonly flushes: Flushes;
  readonly sweep: Sweep;
  /** Times the usual silence before a server is pinged: for the servers of a service, which are alike. */
  patience = 1;

  constructor(runtime: Runtime) {
    this.runtime = runtime;
    this.flushes = new Flushes(runtime);
    this.sweep = new Sweep(runtime);
  }

  /** A server has had enough of this proxy: its next connections are pinged half as often. */
  pingLess(): void {
    this.patience = Math.min(MAX_PATIENCE, this.patience * 2);
  }
}
