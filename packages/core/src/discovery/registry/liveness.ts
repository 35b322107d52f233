/**
 * Whether a process that has announced a server lives: a connection to its socket (presence.ts), kept for as long as
 * that is of interest. Only a refusal says that it has ended; the end of a connection is a reason to ask again.
 */
import { connect, type Socket } from "node:net";
import { withoutCaller } from "../../no-caller.ts";
import type { Runtime, Timer } from "../../runtime/runtime.ts";
import { codeOf } from "../../errors.ts";

/** Where nothing listens any more, by refusal or because the file is gone. */
const ENDED = new Set(["ECONNREFUSED", "ENOENT", "ENOTSOCK"]);
/** Its queue of connections is full, which only a process that lives can have. */
const FULL = "EAGAIN";
/**
 * A connection that ends soon is made again after this long, and twice as long each time: a process that is killed
 * loses its sockets one after the other, and may seem to take a last one.
 */
const FIRST_AGAIN_MS = 5;
/** A process has more readers than it keeps connections for, or is too busy to accept: it lives. */
const MAX_AGAIN_MS = 1_000;

export type LivenessState = "unknown" | "alive" | "ended";

export class Liveness {
  /** `unknown` while it cannot be asked, for example because this process has too many open files. */
  state: LivenessState = "unknown";
  /** It has been asked once, whatever came of it. */
  asked = false;
  readonly #path: string;
  readonly #runtime: Runtime;
  readonly #changed: () => void;
  #socket: Socket | undefined = undefined;
  #timer: Timer | undefined = undefined;
  /** Connections in a row that ended soon. */
  #shorts = 0;
  #stopped = false;

  /** Asks at once. `changed` is called for a new state or a first answer, never before this returns. */
  constructor(path: string, runtime: Runtime, changed: () => void) {
    this.#path = path;
    this.#runtime = runtime;
    this.#changed = changed;
    this.#ask();
  }

  /** Idempotent; `changed` is not called afterwards. */
  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#socket?.destroy();
  }

  #ask(): void {
    const askedAt = this.#runtime.now();
    const socket = withoutCaller(() => connect({ path: this.#path }));
    this.#socket = socket;
    // A process whose only work is to know this has none.
    socket.unref();
    let code: string | undefined;
    socket.on("connect", () => this.#is("alive"));
    // Nothing is ever sent; without a listener the end would not be noticed.
    socket.on("data", () => socket.destroy());
    socket.on("error", (error) => {
      code = codeOf(error);
    });
    socket.on("close", () => this.#closed(code, askedAt));
  }

  #closed(code: string | undefined, askedAt: number): void {
    if (this.#stopped) return;
    if (code !== undefined && ENDED.has(code)) return this.#is("ended");
    this.#is(code === FULL ? "alive" : this.state);
    const isShort = code !== undefined || this.#runtime.now() - askedAt < MAX_AGAIN_MS;
    this.#shorts = isShort ? this.#shorts + 1 : 0;
    if (this.#shorts === 0) return this.#ask();
    const delayMs = Math.min(FIRST_AGAIN_MS * 2 ** (this.#shorts - 1), MAX_AGAIN_MS);
    this.#timer = this.#runtime.after(delayMs, () => this.#ask(), undefined);
  }

  #is(state: LivenessState): void {
    if (this.#stopped || (this.asked && this.state === state)) return;
    this.asked = true;
    this.state = state;
    if (state === "ended") this.stop();
    this.#changed();
  }
}

/** One question. `isHeld`: the process lives until there is an answer. */
export function askOnce(path: string, isHeld: boolean): Promise<LivenessState> {
  return new Promise((resolve) => {
    const socket = withoutCaller(() => connect({ path }));
    if (!isHeld) socket.unref();
    socket.on("connect", () => {
      resolve("alive");
      socket.destroy();
    });
    socket.on("error", (error) => {
      const code = codeOf(error);
      resolve(ENDED.has(code) ? "ended" : code === FULL ? "alive" : "unknown");
    });
  });
}
