/**
 * Waits until what the kernel holds for this process has been read. A connection that is closed with
 * a request unread in it, or a listener with connections that it has not accepted, is a reset for a
 * client that did nothing wrong, and that may not send such a request again.
 */
import type { Runtime } from "../runtime/runtime.ts";

/** A turn of the event loop in which nothing ran takes a few hundredths; what arrives in it cannot be helped. */
const SHORT_TURN_MS = 0.1;
/** A process whose turns are all long is not waited for. */
const MAX_LONG_TURNS = 20;

/**
 * Calls `run` behind a short turn of the event loop at whose beginning all I/O was taken up, or behind
 * the twentieth long one. While `goesOn` says that there was more, for `patienceMs` at most, it is not
 * called. libuv accepts one connection in a turn: that is when there may be more.
 */
export function whenAllIsRead(
  runtime: Runtime,
  run: () => void,
  goesOn: () => boolean = never,
  patienceMs: number = Infinity,
): void {
  const endsAt = runtime.now() + patienceMs;
  // The first call comes in the middle of a turn, which may have begun long ago.
  let beganAt = -Infinity;
  let longTurns = 0;
  const look = (): void => {
    const now = runtime.now();
    const isLong = now - beganAt >= SHORT_TURN_MS;
    const isFirst = beganAt === -Infinity;
    beganAt = now;
    if (isFirst || (goesOn() && now < endsAt)) return runtime.afterIo(look);
    if (isLong && ++longTurns < MAX_LONG_TURNS) return runtime.afterIo(look);
    run();
  };
  runtime.afterIo(look);
}

function never(): boolean {
  return false;
}
