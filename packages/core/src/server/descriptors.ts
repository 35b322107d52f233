/**
 * Connections that a process can afford: half of its descriptors. The other half is for the calls that
 * its requests make, for files and listeners; without any left, nothing works, not even leaving.
 */
import { readFileSync } from "node:fs";

/** Node raises the soft limit to the hard one as it starts, so it does not change later. */
let known: number | undefined;

/** The limits, with `maxConnections` cut to what the process can afford. */
export function withinDescriptors<L extends { readonly maxConnections: number }>(limits: L): L {
  const maxConnections = Math.floor((known ??= descriptorLimit()) / 2);
  return limits.maxConnections <= maxConnections ? limits : { ...limits, maxConnections };
}

/** Infinity where the system does not show it (other than Linux). */
function descriptorLimit(): number {
  try {
    const text = readFileSync("/proc/self/limits", "latin1");
    const [, soft] = /^Max open files\s+(\d+)/m.exec(text) ?? [];
    return soft === undefined ? Infinity : Number(soft);
  } catch {
    return Infinity;
  }
}
