/**
 * What one connection of many requests may not do: throw away most of what it asks for, or hold too
 * much of what it said. An honest client may do either for once; one that goes on is told to go, and
 * its connection ended soon after. The protocol says what a connection is and how it is told.
 */
import type { Runtime } from "../runtime/runtime.ts";

export interface MisuseLimits {
  /** Share of requests that the peer resets before their reply has begun, once there were 50. */
  readonly maxResetRatio: number;
  /** Of the heads of all requests in progress. */
  readonly maxConnectionHeaderBytes: number;
}

/** What a connection has done so far. */
export interface ConnectionUse<S> {
  /** Undefined where requests come one after the other: such a connection ends with its reply. */
  session: S | undefined;
  /** Told to go for what it did. Writer: Misuse. */
  evicted: boolean;
  /** Requests begun. */
  streams: number;
  /** Those that the peer gave up before their reply had begun. Writer: Misuse. */
  resets: number;
  /** Of the heads of the requests in progress. */
  headBytes: number;
}

interface Session {
  readonly destroyed: boolean;
  destroy(): void;
}

/** So few requests prove nothing about their share that was reset. */
const MIN_STREAMS = 50;
/**
 * Who has waited this long, or for this share of its time, has not thrown its request away. It costs no
 * more than others of that length, whose number is limited.
 */
const PATIENT_MS = 1_000;
const PATIENT_RATIO = 0.9;
/** From being told to the end: replies in progress may be heard, a flood may not go on. */
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
   * The peer gave a request up before its reply had begun, or made this side do so (MadeYouReset): all
   * of the work was for nobody. Later it has had something for it, and may have had enough. Peers also
   * give up by time, at their deadline (Infinity: none) or before: a server that is too slow must not
   * answer that with closed connections. `startedAt` NaN: nobody looked at the clock.
   */
  reset(use: ConnectionUse<S>, startedAt: number, deadlineAt: number): void {
    const waitedMs = this.#runtime.now() - startedAt;
    const patientMs = Math.min(PATIENT_MS, PATIENT_RATIO * (deadlineAt - startedAt));
    if (waitedMs >= patientMs) return;
    use.resets++;
    const { maxResetRatio } = this.#limits;
    if (use.streams >= MIN_STREAMS && use.resets > maxResetRatio * use.streams) {
      this.over(use, "stream_resets");
    }
  }

  /** False: with this request its heads are too many, and it is told to go. */
  holds(use: ConnectionUse<S>, headBytes: number): boolean {
    if (use.headBytes + headBytes <= this.#limits.maxConnectionHeaderBytes) return true;
    this.evict(use);
    return false;
  }

  /** Something was done too often: counted once, and it is told to go. */
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
