/**
 * The calls in progress, in a list through the calls, and the watch over clients that do not read:
 * grpc-js would keep what waits for them for as long as they stay connected, past every deadline.
 */
import { status as Status } from "@grpc/grpc-js";
import type { Runtime, Timer } from "@inmesh/core/spi";
import type { ServedStatus } from "../call-types.ts";
import type { Inbound } from "./inbound.ts";

/** Looks so often within the time that is allowed. */
const LOOKS = 6;
const CANCEL = 8;
/** Both versions of the standard service. */
const REFLECTION_PATH = "/grpc.reflection.";
const CLOSING: ServedStatus = {
  code: Status.UNAVAILABLE,
  details: "the server is closing",
  metadata: null,
};

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

  /** A tool may keep its stream of server reflection open for hours, between two questions. */
  endReflection(): void {
    for (let inbound = this.#first; inbound !== undefined; inbound = inbound.next) {
      if (inbound.path.startsWith(REFLECTION_PATH)) inbound.sendStatus(CLOSING);
    }
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
        inbound.stream?.close(CANCEL);
      }
      inbound = next;
    }
  }

  close(): void {
    this.#timer?.cancel();
  }
}
