/**
 * What a call inherits from the request being served: the time left and whether that request was
 * itself a retry. A server wrapper runs its handler inside `context.run`; calls made in it, however
 * deep, read the store once.
 */
import { AsyncLocalStorage } from "node:async_hooks";

export interface ServedRequest {
  /** Instant on the runtime's monotonic clock at which the caller gives up; Infinity if it said nothing. */
  readonly deadlineAt: number;
  /** The attempt number the request arrived with; above 1, only R0 re-sends are made on its behalf. */
  readonly attempt: number;
}

export const context: AsyncLocalStorage<ServedRequest> = new AsyncLocalStorage();

/** Kept back from what is left, so that our answer reaches the caller before it gives up: 10 ms, or 5 % if that is less. */
export function inheritedDeadlineAt(served: ServedRequest, now: number): number {
  if (served.deadlineAt === Infinity) return Infinity;
  return served.deadlineAt - Math.min(10, Math.max(0, (served.deadlineAt - now) * 0.05));
}
