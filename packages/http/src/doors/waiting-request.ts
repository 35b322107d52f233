/**
 * A request of node:http while the mesh looks for a connection. With Node's own Agent a request has its
 * socket in the next turn, connected or not, and its timeout and its end are those of the socket. Here
 * it has none for longer, so this stands in for the socket: the `timeout` option runs, and a request
 * that is destroyed ends at once, as node ends one that never had a socket: `abort()` without an
 * `error`, `destroy(error)` with that error, `destroy()` with ECONNRESET.
 *
 * `setTimeout` of a request counts from the connection, as with Node's Agent.
 */
import type { ClientRequest } from "node:http";
import type { Runtime, Timer } from "@inmesh/core/spi";
import type { AgentsRequest } from "../node-internals.ts";

export class WaitingRequest {
  /** It has said that it waited too long; its socket will not say so again. */
  timedOut = false;
  readonly request: AgentsRequest;
  readonly timeoutMs: number;
  readonly #timer: Timer | undefined;
  readonly #own: PropertyDescriptor | undefined;
  readonly #destroy: ClientRequest["destroy"];
  #over = false;

  /** `timeoutMs`: its `timeout` option; 0: none. `left`: it was destroyed while it waited. */
  constructor(request: ClientRequest, timeoutMs: number, runtime: Runtime, left: () => void) {
    const waiting = request as AgentsRequest;
    this.request = waiting;
    this.timeoutMs = timeoutMs;
    if (timeoutMs > 0) {
      this.#timer = runtime.after(timeoutMs, () => this.#timeOut(), undefined);
    }
    // Node says nothing when a request without a socket is destroyed. `abort` and signals come here too.
    this.#own = Object.getOwnPropertyDescriptor(request, "destroy");
    const destroy = request.destroy.bind(request);
    this.#destroy = (error) => {
      const result = destroy(error);
      if (!this.#over) {
        this.#finish();
        waiting.onSocket(null);
        left();
      }
      return result;
    };
    Object.defineProperty(request, "destroy", {
      value: this.#destroy,
      configurable: true,
      writable: true,
      enumerable: false,
    });
  }

  /** False if it was destroyed: then it is over, and whatever came for it is of no use. */
  end(): boolean {
    if (this.#over) return false;
    this.#finish();
    return true;
  }

  #timeOut(): void {
    this.timedOut = true;
    this.request.emit("timeout");
  }

  #finish(): void {
    this.#over = true;
    this.#timer?.cancel();
    const { request } = this;
    // Code that has replaced it meanwhile calls ours, which then only calls the original.
    if (request.destroy !== this.#destroy) return;
    if (this.#own === undefined) Reflect.deleteProperty(request, "destroy");
    else Object.defineProperty(request, "destroy", this.#own);
  }
}
