/** What a table of numbers is about: everything since the mesh was made, or the time between two readings. */
import type { Answer } from "@inmesh/core/inspect";

export interface Reading<A extends Answer> {
  readonly now: A;
  /** Undefined: everything since the mesh was made counts. */
  readonly before: A | undefined;
}

/** A process that was restarted in between has begun at 0 again, so its reading stands for itself. */
export function reading<A extends Answer>(now: A, before: A | undefined): Reading<A> {
  const isSame =
    before !== undefined && before.instance === now.instance && before.uptimeMs < now.uptimeMs;
  return { now, before: isSame ? before : undefined };
}

export function windowMs<A extends Answer>({ now, before }: Reading<A>): number {
  return now.uptimeMs - (before?.uptimeMs ?? 0);
}
