/**
 * What one connection of many requests may not do: throw away most of what it asks for, or hold too
 * much of what it said. An honest client may do either for once; one that goes on is asked to leave, and
 * its connection ended soon after. The protocol says what a connection is and how it is asked.
 */
import type { Runtime } from "../runtime/runtime.ts";
import type { Tally } from "./tally.ts";

export interface MisuseLimits {
  /** Requests that the peer resets in a burst; a thirtieth of it per second is forgotten. */
  readonly maxStreamResets: number;
  /** Share of a connection's requests that was reset, up to which more than that are no misuse. */
  readonly maxResetRatio: number;
  /** Of the heads of all requests in progress. */
  readonly maxConnectionHeaderBytes: number;
}

/** What a connection has done so far. */
export interface ConnectionUse<S> {
  /** Undefined where requests come one after the other: such a connection ends with its reply. */
  session: S | undefined;
  /** It was asked to leave for what it did. Writer: Misuse. */
  evicted: boolean;
  /** Requests begun. */
  streams: number;
  /** Those that the peer threw away. Writer: Misuse. */
  resets: number;
  /** The same, as far as they are not forgotten. Writer: Misuse. */
  readonly recentResets: Tally;
  /** Of the heads of the requests in progress. */
  headBytes: number;
}

interface Session {
  readonly destroyed: boolean;
  destroy(): void;
}

/** What an HTTP/2 connection that did too much of something hears first. Its nghttp2 then ignores new streams. */
export function calmDown(session: { goaway(code: number): void }): void {
  session.goaway(ENHANCE_YOUR_CALM);
}

/** ENHANCE_YOUR_CALM of RFC 9113 §7. */
const ENHANCE_YOUR_CALM = 11;
/** A burst of resets is forgotten in this time: with Node's burst of 1,000 its rate of 33 per second. */
const FORGET_BURST_MS = 30_000;
/**
 * A client that has waited this long, or until shortly before its deadline, has not thrown its request away. It
 * costs no more than others of that length, whose number is limited.
 */
const PATIENT_MS = 1_000;
/**
 * Shortly before: a tenth of the time, or what a request may have waited on its way and in this process
 * before the clock was read. Of a very short time half: a deadline of a millisecond is no
 * permission to reset whatever one likes.
 */
const EARLY_RATIO = 0.1;
const EARLY_MS = 20;
const MAX_EARLY_RATIO = 0.5;
/** From being asked to leave to the end: replies in progress may arrive, a flood may not go on. */
const EVICT_MS = 1_000;

export class Misuse<S extends Session, Reason extends string> {
  readonly #limits: MisuseLimits;
  readonly #runtime: Runtime;
  readonly #tellToGo: (session: S) => void;
  readonly #count: (reason: Reason | "stream_resets") => void;

  constructor(
    limits: MisuseLimits,
    runtime: Runtime,
    tellToGo: (session: S) => void,
    count: (reason: Reason | "stream_resets") => void,
  ) {
    this.#limits = limits;
    this.#runtime = runtime;
    this.#tellToGo = tellToGo;
    this.#count = count;
  }

  /**
   * The peer gave a request up, or made this side do so (MadeYouReset): the work was for nothing. Peers
   * also give up by time, at their deadline (Infinity: none) or after long: a server that is too slow
   * must not answer that with closed connections. `startedAt` NaN: the clock was not read.
   *
   * A client may reset as many requests as Node's own server lets it, and more while most of its
   * requests are served: those would be lost with the connection.
   */
  reset(use: ConnectionUse<S>, startedAt: number, deadlineAt: number): void {
    const now = this.#runtime.now();
    if (now - startedAt >= patientMs(deadlineAt - startedAt)) return;
    use.resets++;
    const { maxResetRatio, maxStreamResets } = this.#limits;
    const forgetMs = FORGET_BURST_MS / maxStreamResets;
    const many = use.recentResets.add(now, maxStreamResets, forgetMs);
    if (many && use.resets > maxResetRatio * use.streams) this.over(use, "stream_resets");
  }

  /** False: with this request its heads are too many, and it is asked to leave. */
  holds(use: ConnectionUse<S>, headBytes: number): boolean {
    if (use.headBytes + headBytes <= this.#limits.maxConnectionHeaderBytes) return true;
    this.evict(use);
    return false;
  }

  /** Something was done too often: counted once, and the client is asked to leave. */
  over(use: ConnectionUse<S>, reason: Reason | "stream_resets"): void {
    if (use.evicted || use.session?.destroyed === true) return;
    this.#count(reason);
    this.evict(use);
  }

  evict(use: ConnectionUse<S>): void {
    const { session } = use;
    if (session === undefined || use.evicted || session.destroyed) return;
    use.evicted = true;
    this.#tellToGo(session);
    this.#runtime.after(EVICT_MS, (one) => one.destroy(), session);
  }
}

/** How long a request of `timeoutMs` must have been in progress to have been waited for. */
function patientMs(timeoutMs: number): number {
  if (timeoutMs === Infinity) return PATIENT_MS;
  const earlyMs = Math.max(
    EARLY_RATIO * timeoutMs,
    Math.min(MAX_EARLY_RATIO * timeoutMs, EARLY_MS),
  );
  return Math.min(PATIENT_MS, timeoutMs - earlyMs);
}
