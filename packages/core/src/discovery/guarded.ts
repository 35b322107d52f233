/**
 * Sources may be the application's own, and may be wrong (P2): they throw, give what is no endpoint, never
 * answer, or report after their watch was stopped. That is bad news of discovery: counted, logged, shown in
 * the snapshot, and the last good set stays. It is never the failure of a call or of a close.
 */
import { checkEndpointInfos } from "./check-endpoints.ts";
import type { EndpointInfo } from "../endpoint-info.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";
import type { Discovery, EndpointSink, EndpointWatch } from "./discovery.ts";
import { errorOf } from "../errors.ts";

/** A source that has not answered for so long has failed; what it says later still counts. */
export const NEVER_ANSWERED_MS = 30_000;
/** A source whose `watch` throws is asked again after this long, and after twice as long each time. */
export const RESTART_MS = 5_000;
export const MAX_RESTART_MS = 60_000;

/** What a guarded watch reports about its source. */
export interface WatchEvents {
  /** It has reported something after its watch was stopped. */
  late(): void;
  /** It is asked again, because its watch had failed. */
  restarted(): void;
}

export function watchGuarded(
  discovery: Discovery,
  sink: EndpointSink,
  runtime: Runtime,
  events: WatchEvents,
): EndpointWatch {
  return new GuardedWatch(discovery, sink, runtime, events);
}

class GuardedWatch implements EndpointWatch, EndpointSink {
  readonly #discovery: Discovery;
  readonly #sink: EndpointSink;
  readonly #runtime: Runtime;
  readonly #events: WatchEvents;
  #watch: EndpointWatch | undefined = undefined;
  #restart: Timer | undefined = undefined;
  #restartMs = RESTART_MS;
  /** Armed until the first answer. */
  #patience: Timer | undefined = undefined;
  #answered = false;
  #stopped = false;

  constructor(discovery: Discovery, sink: EndpointSink, runtime: Runtime, events: WatchEvents) {
    this.#discovery = discovery;
    this.#sink = sink;
    this.#runtime = runtime;
    this.#events = events;
    this.#start();
    if (this.#answered) return;
    this.#patience = runtime.after(NEVER_ANSWERED_MS, () => this.#neverAnswered(), undefined);
  }

  // ── for the mesh ─────────────────────────────────────────────────────────────────────────────

  refresh(): void {
    this.#safely(() => this.#watch?.refresh());
  }

  stop(): void {
    if (this.#stopped) return;
    // First, so that nothing it reports while it stops is passed on.
    this.#stopped = true;
    this.#restart?.cancel();
    this.#patience?.cancel();
    this.#safely(() => this.#watch?.stop());
  }

  #start(): void {
    this.#restart = undefined;
    this.#safely(
      () => {
        const watch: Partial<EndpointWatch> | undefined = this.#discovery.watch(this);
        if (typeof watch?.stop !== "function" || typeof watch.refresh !== "function") {
          throw new TypeError("watch has not given an object with refresh and stop");
        }
        this.#watch = watch as EndpointWatch;
      },
      () => {
        this.#restart = this.#runtime.after(this.#restartMs, () => this.#again(), undefined);
        this.#restartMs = Math.min(2 * this.#restartMs, MAX_RESTART_MS);
      },
    );
  }

  #again(): void {
    this.#events.restarted();
    this.#start();
  }

  #neverAnswered(): void {
    this.#patience = undefined;
    this.#sink.failed(new Error(`it has not answered for ${NEVER_ANSWERED_MS / 1000} s`));
  }

  #safely(act: () => void, otherwise?: () => void): void {
    try {
      act();
    } catch (error) {
      if (this.#stopped) return;
      this.#heard();
      this.#sink.failed(errorOf(error));
      otherwise?.();
    }
  }

  // ── for the source ───────────────────────────────────────────────────────────────────────────

  replace(endpoints: readonly EndpointInfo[], why?: string): void {
    if (this.#refuses("replace", endpoints)) return;
    this.#sink.replace(endpoints, typeof why === "string" ? why : undefined);
  }

  change(upserted: readonly EndpointInfo[], removed: readonly EndpointInfo[]): void {
    if (this.#refuses("change", upserted, removed)) return;
    this.#sink.change(upserted, removed);
  }

  failed(error: Error): void {
    if (this.#stopped) return this.#events.late();
    this.#heard();
    this.#sink.failed(errorOf(error));
  }

  #refuses(method: string, ...lists: readonly (readonly EndpointInfo[])[]): boolean {
    if (this.#stopped) {
      this.#events.late();
      return true;
    }
    this.#heard();
    const wrong = lists.map(checkEndpointInfos).find((text) => text !== undefined);
    if (wrong === undefined) return false;
    this.#sink.failed(new TypeError(`${method} was called with ${wrong}`));
    return true;
  }

  #heard(): void {
    this.#answered = true;
    this.#patience?.cancel();
    this.#patience = undefined;
  }
}
