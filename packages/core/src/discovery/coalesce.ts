/**
 * Rapid news of a source, gathered: the first is passed on at once, what follows within 100 ms as one
 * (faults.md D10). Lists and pickers are then rebuilt ten times a second at most, however fast
 * endpoints come and go.
 */
import type { Runtime, Timer } from "../runtime/runtime.ts";
import type { EndpointSink } from "./discovery.ts";
import { addressOf, type EndpointInfo } from "../endpoint-info.ts";

export const GATHER_MS = 100;

/** Where news go, and what it wants to do ahead of them. */
export interface PreparedSink extends EndpointSink {
  /** Undefined: nothing has to be waited for. Never rejects. */
  prepare?(endpoints: readonly EndpointInfo[]): Promise<void> | undefined;
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
  readonly #inner: PreparedSink;
  readonly #runtime: Runtime;
  /** Armed for 100 ms after each application. */
  #pause: Timer | undefined = undefined;
  /** News that are being prepared. What comes meanwhile waits as in the pause. */
  #preparing: News | undefined = undefined;
  /** What waits: a whole set, and differences to it by endpoint. */
  #set: readonly EndpointInfo[] | undefined = undefined;
  #why: string | undefined = undefined;
  readonly #upserted = new Map<string, EndpointInfo>();
  readonly #removed = new Map<string, EndpointInfo>();
  #error: Error | undefined = undefined;
  /** Something waits, maybe only the news that the source works again. */
  #waiting = false;
  #stopped = false;

  constructor(inner: PreparedSink, runtime: Runtime) {
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
    if (this.#waiting) this.#error = error;
    else if (this.#preparing !== undefined) {
      this.#waiting = true;
      this.#error = error;
    } else this.#inner.failed(error);
  }

  /** Nothing is passed on afterwards. */
  stop(): void {
    this.#stopped = true;
    this.#pause?.cancel();
    this.#pause = this.#preparing = undefined;
  }

  get #isFree(): boolean {
    return this.#pause === undefined && this.#preparing === undefined;
  }

  #pass(news: News): void {
    const { set, upserted } = news;
    const all = set === undefined ? upserted : upserted.length === 0 ? set : [...set, ...upserted];
    const prepared = this.#inner.prepare?.(all);
    if (prepared === undefined) return this.#apply(news);
    this.#preparing = news;
    void prepared.then(() => {
      if (this.#preparing !== news) return;
      this.#preparing = undefined;
      this.#apply(news);
    });
  }

  #apply({ set, why, upserted, removed }: News): void {
    this.#pause = this.#runtime.after(GATHER_MS, () => this.#flush(), undefined);
    if (set !== undefined) this.#inner.replace(set, why);
    if (set === undefined || upserted.length > 0 || removed.length > 0) {
      this.#inner.change(upserted, removed);
    }
  }

  #flush(): void {
    this.#pause = undefined;
    if (!this.#waiting) return;
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
