/** The requests of this process to all endpoints together: each endpoint is compared with them. */
import { SuccessWindow } from "../breaker/window.ts";
import type { BreakerConfig } from "../breaker/options.ts";

export class Traffic {
  window: SuccessWindow;
  #windowMs: number;
  #since = -1;

  constructor({ windowMs }: BreakerConfig) {
    this.#windowMs = windowMs;
    this.window = new SuccessWindow(windowMs);
  }

  /** A window of another length starts empty. */
  configure({ windowMs }: BreakerConfig): void {
    if (windowMs === this.#windowMs) return;
    this.#windowMs = windowMs;
    this.window = new SuccessWindow(windowMs);
  }

  add(now: number, startedAt: number, success: boolean): void {
    if (this.#since < 0) this.#since = startedAt;
    this.window.add(now, success);
  }

  /** Requests a second, over the window or as long as there have been any. */
  rps(now: number): number {
    const spanMs = Math.min(this.#windowMs, Math.max(1000, now - this.#since));
    this.window.advance(now);
    return (1000 * this.window.total) / spanMs;
  }
}
