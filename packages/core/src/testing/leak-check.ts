/** Whether a piece of work gives back every handle, timer and file descriptor it took. */
import { readdirSync } from "node:fs";

export interface ResourceCount {
  /** By kind, as in `process.getActiveResourcesInfo()`. */
  readonly active: ReadonlyMap<string, number>;
  /** Open file descriptors; 0 where the system does not show them. */
  readonly descriptors: number;
}

const BASELINE_MS = 1_000;
const LOOK_EVERY_MS = 10;
/** A look that comes later than this says that other processes ran, not that something is held. */
const LATE_MS = 5 * LOOK_EVERY_MS;

/** What this process holds at the moment. */
export function countResources(): ResourceCount {
  const active = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) {
    active.set(kind, (active.get(kind) ?? 0) + 1);
  }
  return { active, descriptors: openDescriptors() };
}

/** What is held beyond the baseline, in words; empty if nothing is. */
export function leakSince(baseline: ResourceCount): string[] {
  const { active, descriptors } = countResources();
  const leaks: string[] = [];
  for (const [kind, count] of active) {
    // Immediates and our own waiting timer come and go.
    if (kind === "Immediate" || kind === "TickObject") continue;
    const before = baseline.active.get(kind) ?? 0;
    if (count > before) leaks.push(`${kind}: ${before} → ${count}`);
  }
  if (descriptors > baseline.descriptors) {
    leaks.push(`descriptors: ${baseline.descriptors} → ${descriptors}`);
  }
  return leaks;
}

/** Waits up to `withinMs`, as far as this process gets to run, for the baseline. Throws with what is still held. */
export async function expectBaseline(
  baseline: ResourceCount,
  withinMs: number = BASELINE_MS,
): Promise<void> {
  let lookedAt = performance.now();
  for (let waitedMs = 0; ;) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    const leaks = leakSince(baseline);
    if (leaks.length === 0) return;
    const now = performance.now();
    waitedMs += Math.min(now - lookedAt, LATE_MS);
    lookedAt = now;
    if (waitedMs > withinMs) {
      throw new Error(`still held after ${withinMs} ms: ${leaks.join(", ")}`);
    }
  }
}

/** Runs `work` and waits up to 1 s until everything it took has been given back. */
export async function expectNoLeak(work: () => Promise<void>): Promise<void> {
  const baseline = countResources();
  await work();
  await expectBaseline(baseline);
}

function openDescriptors(): number {
  try {
    return readdirSync("/proc/self/fd").length;
  } catch {
    return 0;
  }
}
