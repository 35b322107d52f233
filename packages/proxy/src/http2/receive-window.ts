/** What the peer may send on all streams of a connection together (RFC 9113 §5.2). */
import { DEFAULT_WINDOW, writeWindowUpdate } from "./frames.ts";
import type { Outgoing } from "./outgoing.ts";

export const CONNECTION_WINDOW = 1_048_576;

export class ReceiveWindow {
  #left = DEFAULT_WINDOW;
  #taken = 0;

  /** Beyond what every connection begins with. */
  open(out: Outgoing): void {
    writeWindowUpdate(out, 0, CONNECTION_WINDOW - DEFAULT_WINDOW);
    this.#left = CONNECTION_WINDOW;
  }

  /** So much has come. False: it was more than there was room for. */
  came(bytes: number): boolean {
    this.#left -= bytes;
    return this.#left >= 0;
  }

  /** So much of it has gone on. True: the peer should hear of it now. */
  taken(bytes: number): boolean {
    this.#taken += bytes;
    return this.#taken * 2 >= CONNECTION_WINDOW;
  }

  /** The peer may send as much as was taken again. */
  reopen(out: Outgoing): void {
    this.#left += this.#taken;
    writeWindowUpdate(out, 0, this.#taken);
    this.#taken = 0;
  }
}
