/**
 * Real time by a clock that can be set ahead: what a process sees that stood still, or that has been
 * running for hours. Timers that are armed fire when they would have.
 */
import { NodeRuntime } from "../runtime/node-runtime.ts";

export class AheadRuntime extends NodeRuntime {
  aheadMs = 0;

  override now(): number {
    return super.now() + this.aheadMs;
  }
}
