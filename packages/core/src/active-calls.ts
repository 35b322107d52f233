/** The calls of one service in progress, as a linked list through the calls: closing must reach each of them. */
import type { Call } from "./call.ts";
import type { MeshError } from "./errors.ts";

export class ActiveCalls {
  calls = 0;
  /** Runs whenever the last one has ended. */
  onEmpty: (() => void) | undefined = undefined;
  #first: Call | undefined = undefined;

  add(call: Call): void {
    this.calls++;
    call.next = this.#first;
    if (this.#first !== undefined) this.#first.previous = call;
    this.#first = call;
  }

  remove(call: Call): void {
    this.calls--;
    if (call.previous === undefined) this.#first = call.next;
    else call.previous.next = call.next;
    if (call.next !== undefined) call.next.previous = call.previous;
    call.previous = call.next = undefined;
    if (this.calls === 0) this.onEmpty?.();
  }

  cancelAll(error: (call: Call) => MeshError): void {
    for (let call = this.#first; call !== undefined;) {
      const { next } = call;
      call.cancel(error(call), "abandoned");
      call = next;
    }
  }
}
