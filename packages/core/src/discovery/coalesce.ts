/**
 * Rapid news of a source, gathered: the first is passed on at once, what follows within 100 ms as one
 * (faults.md D10). Lists and pickers are then rebuilt ten times a second at most, however fast
 * endpoints come and go.
 */
import type { Runtime, Timer } from "../runtime/runtime.ts";
import type { EndpointSink } from "./discovery.ts";
import { addressOf, type EndpointInfo } from "../endpoint-info.ts";

export const GATHER_MS = 100;

/** Where news go. A promise: they are large, and applied in turns; it never rejects. */
export interface AppliedSink extends EndpointSink {
  replace(endpoints: readonly EndpointInfo[], why?: string): void | Promise<void>;
  change(upserted: readonly EndpointInfo[], removed: readonly EndpointInfo[]): void | Promise<void>;
}

interface News {
  /** A whole set… */
  readonly set: readonly EndpointInfo[] | undefined;
  readonly why: string | undefined;
  /** …and differences to it, or to what is known. */
  readonly upserted: readonly EndpointInfo[];
  readonly removed: readonly EndpointInfo[];
}

export class CoalescingSink implements EndpointSink {
  readonly #inner: AppliedSink;
  readonly #runtime: Runtime;
  /** Armed for 100 ms after each application. */
  #pause: Timer | undefined = undefined;
  /** News are being applied. What comes meanwhile waits as in the pause. */
  #busy = false;
  /** What waits: a whole set, and differences to it by endpoint. */
  #set: readonly EndpointInfo[] | undefined = undefined;
  #why: string | undefined = undefined;
  readonly #upserted = new Map<string, EndpointInfo>();
  readonly #removed = new Map<string, EndpointInfo>();
  #error: Error | undefined = undefined;
  /** Something waits, maybe only the news that the source works again. */
  #waiting = false;
  #stopped = false;

  constructor(inner: AppliedSink, runtime: Runtime) {
    this.#inner = inner;
    this.#runtime = runtime;
  }

  replace(endpoints: readonly EndpointInfo[], why?: string): void {
    if (this.#stopped) return;
    if (this.#isFree) return this.#pass({ set: endpoints, why, upserted: [], removed: [] });
    this.#waiting = true;
    this.#set = endpoints;
    this.#why = why;
    this.#upserted.clear();
    this.#removed.clear();
    this.#error = undefined;
  }

  change(upserted: readonly EndpointInfo[], removed: readonly EndpointInfo[]): void {
    if (this.#stopped) return;
    if (this.#isFree) return this.#pass({ set: undefined, why: undefined, upserted, removed });
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
    if (this.#waiting || this.#busy) {
      this.#waiting = true;
      this.#error = error;
    } else this.#inner.failed(error);
  }

  /** Nothing is passed on afterwards. */
  stop(): void {
    this.#stopped = true;
    this.#pause?.cancel();
    this.#pause = undefined;
  }

  get #isFree(): boolean {
    return this.#pause === undefined && !this.#busy;
  }

  #pass({ set, why, upserted, removed }: News): void {
    this.#holdBack();
    if (set === undefined) return this.#after(this.#inner.change(upserted, removed));
    const replaced = this.#inner.replace(set, why);
    if (upserted.length === 0 && removed.length === 0) return this.#after(replaced);
    const change = (): void | Promise<void> =>
      this.#stopped ? undefined : this.#inner.change(upserted, removed);
    this.#after(replaced === undefined ? change() : replaced.then(change));
  }

  #holdBack(): void {
    this.#pause = this.#runtime.after(GATHER_MS, () => this.#flush(), undefined);
  }

  #after(applied: void | Promise<void>): void {
    if (applied === undefined) return;
    this.#busy = true;
    void applied.then(() => {
      this.#busy = false;
      if (this.#pause === undefined && !this.#stopped) this.#flush();
    });
  }

  #flush(): void {
    this.#pause = undefined;
    if (!this.#waiting || this.#busy) return;
    this.#waiting = false;
    const news = {
      set: this.#set,
      why: this.#why,
      upserted: [...this.#upserted.values()],
      removed: [...this.#removed.values()],
    };
    const error = this.#error;
    this.#set = this.#error = undefined;
    this.#upserted.clear();
    this.#removed.clear();
    this.#pass(news);
    if (error !== undefined) this.failed(error);
  }
}

/** What distinguishes the endpoints of one source: address and uid. */
export function keyOf(info: EndpointInfo): string {
  return `${addressOf(info)}#${info.uid ?? ""}`;
}
