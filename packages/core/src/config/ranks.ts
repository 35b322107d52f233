/**
 * Which one has precedence where two of them say something about the same value: the one list of it, weakest
 * first, with the reason for each place. Sources are laid over each other in this order, field by field
 * (merge.ts).
 */
export const RANKS = [
  // What holds where nothing is written. It stands with each option and is no layer.
  "default",
  // Set for a whole container or machine, and often by an operator who does not know this program.
  "environment",
  // Written for this program and deployed with it, so it is more exact than its surroundings.
  "file",
  // What the mesh as a whole agrees on, now; a file was right when the program was deployed.
  "control-plane",
  // The author of this program knows what it can bear. Clients and servers made in code are here too.
  "code",
  // A temporary change by a person: at night it must not lose against a constant in code.
  "override",
  // One call knows what it needs. It is no layer: a call reads its own options.
  "call",
] as const;

export type Rank = (typeof RANKS)[number];

/** Ranks that are layers; each has one source at most, so that the order is always certain. */
export type SourceRank = Exclude<Rank, "default" | "call">;

/** What a source of `createMesh({ sources })` may be: the others are always there. */
export const OUTSIDE_RANKS: readonly SourceRank[] = ["file", "control-plane", "override"];
