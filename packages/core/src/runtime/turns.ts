/**
 * Work that may be long, done in turns of a few milliseconds, so that requests, timers and probes of the process run
 * in between. What is short is done at once.
 */
import type { Runtime } from "./runtime.ts";

/** Half of the stall that nothing of ours may exceed. */
const TURN_MS = 4;
/** A look at the clock costs about what one step of a microsecond does. */
const STEPS = 32;

/**
 * `work` yields after each step. `steps`: so many of them between two looks at the clock, because they are short.
 * Gives what `work` returns: at once, or, where it takes longer than 4 ms, a promise of it.
 */
export function inTurns<T>(
  runtime: Runtime,
  work: Iterator<unknown, T>,
  steps: number = STEPS,
): T | Promise<T> {
  const first = turn(runtime, work, steps);
  if (first.done === true) return first.value;
  return new Promise((resolve, reject) => {
    const next = (): void => {
      try {
        const result = turn(runtime, work, steps);
        if (result.done === true) resolve(result.value);
        else runtime.after(0, next, undefined);
      } catch (error) {
        reject(error instanceof Error ? error : new Error(String(error)));
      }
    };
    runtime.after(0, next, undefined);
  });
}

/** Resolves in a turn of its own, after what waits already. */
export function nextTurn(runtime: Runtime): Promise<void> {
  return new Promise((resolve) => runtime.after(0, resolve, undefined));
}

function turn<T>(
  runtime: Runtime,
  work: Iterator<unknown, T>,
  steps: number,
): IteratorResult<unknown, T> {
  const until = runtime.now() + TURN_MS;
  for (;;) {
    for (let i = 0; i < steps; i++) {
      const result = work.next();
      if (result.done === true) return result;
    }
    if (runtime.now() >= until) return { done: false, value: undefined };
  }
}
