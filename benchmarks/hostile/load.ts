/**
 * How slow the machine is for others at the moment: how long bare processes, which have nothing of ours
 * in them, take to answer a question. Times after which something counts as hung grow with that.
 */
const FORGET_MS = 20_000;
/** As long as a process on an idle machine may take while it is under attack. */
const USUAL_MS = 250;
/** Behind that it is hung, whatever the machine does. */
const MAX_STRETCH = 5;

let slowestMs = 0;
let slowestAt = -Infinity;

/** A bare process took so long. */
export function noteBare(ms: number): void {
  const now = performance.now();
  if (ms < slowestMs && now - slowestAt < FORGET_MS) return;
  slowestMs = ms;
  slowestAt = now;
}

/** A time limit, as the machine is at the moment. */
export function stretched(ms: number): number {
  const isRecent = performance.now() - slowestAt < FORGET_MS;
  return ms * Math.min(MAX_STRETCH, Math.max(1, isRecent ? slowestMs / USUAL_MS : 1));
}

/** A process that answers so fast has the machine to itself, as far as a time limit can tell. */
export function isCalm(ms: number): boolean {
  return ms < USUAL_MS / 4;
}
