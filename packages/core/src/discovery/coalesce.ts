/**
 * Rapid news of a source, gathered: the first is passed on at once, what follows within 100 ms as one
 * (faults.md D10). Lists and pickers are then rebuilt ten times a second at most, however fast
 * endpoints come and go.
 */
import type { Runtime, Timer } from "../runtime/runtime.ts";
import type { EndpointSink } from "./discovery.ts";
import { addressOf, type EndpointInfo } from "../endpoint-info.ts";

export const GATHER_MS = 100;

export class CoalescingSink implements EndpointSink {
  readonly #inner: EndpointSink;
  readonly #runtime: Runtime;
  /** Armed for 100 ms after each application. */
  #pause: Timer | undefined = undefined;
  /** What waits for the end of the pause: a whole set, and differences to it by endpoint. */
  #set: readonly EndpointInfo[] | undefined = undefined;
  #why: string | undefined = undefined;
  readonly #upserted = new Map<string, EndpointInfo>();
  readonly #removed = new Map<string, EndpointInfo>();
  #error: Error | undefined = undefined;
  /** Something waits, maybe only the news that the source works again. */
  #waiting = false;
  #stopped = false;

  constructor(inner: EndpointSink, runtime: Runtime) {
    this.#inner = inner;
    this.#runtime = runtime;
  }

  replace(endpoints: readonly EndpointInfo[], why?: string): void {
    if (this.#stopped) return;
    if (this.#pause === undefined) {
      this.#rest();
      return this.#inner.replace(endpoints, why);
    }
    this.#waiting = true;
    this.#set = endpoints;
    this.#why = why;
    this.#upserted.clear();
    this.#removed.clear();
    this.#error = undefined;
  }

  change(upserted: readonly EndpointInfo[], removed: readonly EndpointInfo[]): void {
    if (this.#stopped) return;
    if (this.#pause === undefined) {
      this.#rest();
      return this.#inner.change(upserted, removed);
    }
    this.#waiting = true;
    this.#error = undefined;
    for (const info of removed) {
      const key = keyOf(info);
      this.#upserted.delete(key);
      this.#removed.set(key, info);
    }
    for (const info of upserted) {
      const key = keyOf(info);
      this.#removed.delete(key);
      this.#upserted.set(key, info);
    }
  }

  /** Costs nothing to apply, so it never waits, unless older news does. */
  failed(error: Error): void {
    if (this.#stopped) return;
    if (this.#waiting) this.#error = error;
    else this.#inner.failed(error);
  }

  /** Nothing is passed on afterwards. */
  stop(): void {
    this.#stopped = true;
    this.#pause?.cancel();
    this.#pause = undefined;
  }

  #rest(): void {
    this.#pause = this.#runtime.after(GATHER_MS, () => this.#flush(), undefined);
  }

  #flush(): void {
    this.#pause = undefined;
    if (!this.#waiting) return;
    this.#waiting = false;
    this.#rest();
    const set = this.#set;
    const upserted = [...this.#upserted.values()];
    const removed = [...this.#removed.values()];
    const error = this.#error;
    this.#set = this.#error = undefined;
    this.#upserted.clear();
    this.#removed.clear();
    if (set !== undefined) this.#inner.replace(set, this.#why);
    if (set === undefined || upserted.length > 0 || removed.length > 0) {
      this.#inner.change(upserted, removed);
    }
    if (error !== undefined) this.#inner.failed(error);
  }
}

/** What distinguishes the endpoints of one source: address and uid. */
export function keyOf(info: EndpointInfo): string {
  return `${addressOf(info)}#${info.uid ?? ""}`;
}
