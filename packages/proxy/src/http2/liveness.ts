/**
 * Whether the peer of a connection is still there, which TCP does not say of one that vanished: while streams are
 * open, silence is answered by a PING, and silence after that is the end. Any byte is a sign of life. It counts calls,
 * which come once a second, so that a process that stood still blames no one.
 */

const TICK_MS = 1_000;

/** `ask`: by a PING, which the caller sends. `gone`: it has not been answered. */
export type Sign = "alive" | "ask" | "gone";

export class Liveness {
  #bytesRead = -1;
  #silentMs = 0;
  #asked = false;

  /** Once a second while streams are open. `bytesRead`: of the socket so far. Infinity: it is never asked. */
  look(bytesRead: number, intervalMs: number, timeoutMs: number): Sign {
    if (bytesRead !== this.#bytesRead) {
      this.#bytesRead = bytesRead;
      this.rest();
      return "alive";
    }
    this.#silentMs += TICK_MS;
    if (this.#asked) return this.#silentMs < timeoutMs ? "alive" : "gone";
    if (this.#silentMs < intervalMs) return "alive";
    this.#asked = true;
    this.#silentMs = 0;
    return "ask";
  }

  /** No stream waits for it. */
  rest(): void {
    this.#silentMs = 0;
    this.#asked = false;
  }
}
