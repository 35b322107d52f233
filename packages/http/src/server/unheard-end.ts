/**
 * The end of a request without a body that nobody waits for. Once the reply is out Node reads such a
 * request to its end, and says `end` and `close` to nobody: four turns of its queue, a twentieth of what
 * a small request costs (docs/decisions/0014). Here it is at its end at once.
 */
import type { IncomingMessage } from "node:http";
import { NODE_HTTP } from "./listeners.ts";

/** Node's own: called once, when the reply is out and nobody has begun to read. */
export interface Dumped {
  _dump(): void;
}

/** What a stream is when it has ended and closed. */
interface AtItsEnd {
  readonly _readableState: Record<
    "ended" | "endEmitted" | "destroyed" | "closed" | "closeEmitted",
    boolean
  >;
}

const node = NODE_HTTP.IncomingMessage.prototype as unknown as Dumped;

/** As `_dump` of a request without a body. Whoever looks later finds what Node's way leaves. */
export function endUnheard(this: IncomingMessage & Dumped & AtItsEnd): void {
  // Whoever listens for data has begun to read. (`eventNames` would cost more than all of this spares.)
  if (!this.complete || this.listenerCount("end") > 0 || this.listenerCount("close") > 0) {
    return node._dump.call(this);
  }
  const state = this._readableState;
  state.ended = state.endEmitted = true;
  state.destroyed = state.closed = state.closeEmitted = true;
}
