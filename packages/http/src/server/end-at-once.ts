/**
 * The end of a request without a body that no listener waits for. Once the reply is out Node reads such a
 * request to its end, and emits `end` and `close` without a listener: four turns of its queue, a twentieth
 * of what a small request costs (docs/decisions/0014-what-a-served-request-pays.md). Here it is at its end at once.
 */
import type { IncomingMessage } from "node:http";
import { markEnded, nodeDump } from "../node-internals.ts";

/** Instead of Node's dump of a request without a body. Code that looks later finds what Node's way leaves. */
export function endAtOnce(this: IncomingMessage): void {
  // A listener for data means that reading has begun. (`eventNames` would cost more than all of this spares.)
  if (!this.complete || this.listenerCount("end") > 0 || this.listenerCount("close") > 0) {
    return nodeDump(this);
  }
  markEnded(this);
}
