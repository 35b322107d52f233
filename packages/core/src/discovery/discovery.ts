/**
 * The contract of a discovery source: it watches one target and reports the endpoints it knows.
 * "I could not find out" (`failed`) and "there are none" (an empty `replace`) are different news
 * and never confused: the first keeps the last good set (faults.md D1, D2).
 */
import type { EndpointInfo } from "../endpoint-info.ts";

/** Where a source reports to. Calls after `stop()` are ignored. */
export interface EndpointSink {
  /**
   * The whole set, as the source knows it now. Empty means: there are none; `why` then says for people
   * how the source knows, and stands in the errors of calls.
   */
  replace(endpoints: readonly EndpointInfo[], why?: string): void;
  /** A difference, for sources that know one: work is proportional to it, not to the set. */
  change(upserted: readonly EndpointInfo[], removed: readonly EndpointInfo[]): void;
  /** The source does not know its endpoints at the moment. The last good set stays in use. */
  failed(error: Error): void;
}

/** The source of the endpoints of one service. */
export interface Discovery {
  /** Closed set, used as a metric label: `static`, `dns`, … */
  readonly source: string;
  /** Starts watching. A source that knows its answer already calls the sink before it returns. */
  watch(sink: EndpointSink): EndpointWatch;
}

/** What `watch` returns: how a mesh asks a source to look again, and how it ends it. */
export interface EndpointWatch {
  /** Asks the source to look again soon, for example after a refused connection. May be ignored. */
  refresh(): void;
  /** Idempotent. Frees sockets and timers; no call to the sink follows. */
  stop(): void;
}
