/**
 * What is to be changed in the head of a request or a reply, as a protocol carries it out: first
 * `taken`, then `given`. A name that is set is taken and given.
 */
import type { HeaderModifierConfig } from "./route/types.ts";

export interface HeaderChanges {
  /** Lower-case names of which no value stays. */
  readonly taken: ReadonlySet<string>;
  /** Lower-case names and their values in turn, put behind what stays. */
  readonly given: readonly string[];
}

/** In the order of Linkerd's proxy: `add`, then `set`, which replaces, then `remove`, which has the last word. */
export function compileHeaderChanges({ set, add, remove }: HeaderModifierConfig): HeaderChanges {
  const removed = new Set(remove.map(lower));
  const taken = new Set([...removed, ...set.map(({ name }) => lower(name))]);
  const added = add.filter(({ name }) => !taken.has(lower(name)));
  const given = [...set.filter(({ name }) => !removed.has(lower(name))), ...added];
  return { taken, given: given.flatMap(({ name, value }) => [lower(name), value]) };
}

function lower(name: string): string {
  return name.toLowerCase();
}
