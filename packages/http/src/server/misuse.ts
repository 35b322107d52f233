/**
 * What one connection may not do too often, beside what core counts for every protocol. Each of these
 * is tolerated once, because an honest client may do it; one that goes on is asked to leave (HTTP/2: GOAWAY
 * and the end, HTTP/1: `Connection: close`). Node's own counters stay in force below: those see frames
 * that never become a request.
 */
import { Misuse, Tally, type Runtime } from "@inmesh/core/spi";
import type { ConnectionState } from "./connection-state.ts";
import type { CutReason } from "./cuts.ts";
import type { ServerLimits } from "./limits.ts";
import type { Http2Session } from "./listeners.ts";

/** One of each is forgotten in this time. */
const FORGET_GLITCH_MS = 10_000;
const FORGET_PING_MS = 1_000;
const FORGET_SETTINGS_MS = 6_000;

export class HttpMisuse extends Misuse<Http2Session, CutReason> {
  readonly #limits: ServerLimits;
  readonly #runtime: Runtime;

  /** `tellToGo`: what is destroyed a second later. */
  constructor(
    limits: ServerLimits,
    runtime: Runtime,
    tellToGo: (session: Http2Session) => void,
    count: (reason: CutReason) => void,
  ) {
    super(limits, runtime, tellToGo, count);
    this.#limits = limits;
    this.#runtime = runtime;
  }

  /** Frames that cost an answer each. */
  watch(session: Http2Session, state: ConnectionState): void {
    const pings = new Tally();
    const settings = new Tally();
    const { maxPings, maxSettingsFrames } = this.#limits;
    session.on("ping", () => {
      if (pings.add(this.#runtime.now(), maxPings, FORGET_PING_MS)) this.over(state, "pings");
    });
    session.on("remoteSettings", () => {
      if (settings.add(this.#runtime.now(), maxSettingsFrames, FORGET_SETTINGS_MS)) {
        this.over(state, "settings");
      }
    });
  }

  /** An anomaly was tolerated. True: once too often, the connection is to end. */
  glitch(state: ConnectionState): boolean {
    const { maxGlitches } = this.#limits;
    if (!state.glitches.add(this.#runtime.now(), maxGlitches, FORGET_GLITCH_MS)) return false;
    this.over(state, "glitches");
    return true;
  }
}
