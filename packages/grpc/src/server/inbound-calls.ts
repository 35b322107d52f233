/**
 * The calls in progress, in a list through the calls, and the watch over clients that do not read:
 * grpc-js would keep what waits for them for as long as they stay connected, past every deadline.
 */
import type { Runtime, Timer } from "@inmesh/core/spi";
import type { Inbound } from "./inbound.ts";
import { streamOf } from "./internals.ts";

/** Looks so often within the time that is allowed. */
const LOOKS = 6;
const CANCEL = 8;

export class InboundCalls {
  readonly #stallTimeoutMs: number;
  readonly #runtime: Runtime;
  readonly #stalled: (inbound: Inbound) => void;
  #first: Inbound | undefined = undefined;
  #timer: Timer | undefined = undefined;

  constructor(stallTimeoutMs: number, runtime: Runtime, stalled: (inbound: Inbound) => void) {
    this.#stallTimeoutMs = stallTimeoutMs;
    this.#runtime = runtime;
    this.#stalled = stalled;
  }

  add(inbound: Inbound): void {
    const first = this.#first;
    inbound.next = first;
    if (first !== undefined) first.previous = inbound;
    this.#first = inbound;
    if (this.#timer === undefined && this.#stallTimeoutMs !== Infinity) this.#arm();
  }

  remove(inbound: Inbound): void {
    const { previous, next } = inbound;
    if (previous !== undefined) previous.next = next;
    else if (this.#first === inbound) this.#first = next;
    if (next !== undefined) next.previous = previous;
    inbound.previous = inbound.next = undefined;
  }

  #arm(): void {
    this.#timer = this.#runtime.after(
      this.#stallTimeoutMs / LOOKS,
      () => {
        this.#timer = undefined;
        this.#look(this.#runtime.now());
        if (this.#first !== undefined) this.#arm();
      },
      undefined,
    );
  }

  #look(now: number): void {
    for (let inbound = this.#first; inbound !== undefined;) {
      const { next } = inbound;
      if (!inbound.writing) inbound.stalledAt = 0;
      else if (inbound.stalledAt === 0) inbound.stalledAt = now;
      else if (now - inbound.stalledAt >= this.#stallTimeoutMs) {
        this.#stalled(inbound);
        streamOf(inbound.call)?.close(CANCEL);
      }
      inbound = next;
    }
  }

  close(): void {
    this.#timer?.cancel();
  }
}
