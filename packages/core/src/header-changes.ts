/**
 * What is to be changed in the head of a request or a reply, as a protocol carries it out: first
 * `taken`, then `given`. A name that is set is taken and given.
 */
import type { HeaderModifierConfig } from "./config/types.ts";

export interface HeaderChanges {
  /** Lower-case names of which no value stays. */
  readonly taken: ReadonlySet<string>;
  /** Lower-case names and their values in turn, put behind what stays. */
  readonly given: readonly string[];
}

export function compileHeaderChanges({ set, add, remove }: HeaderModifierConfig): HeaderChanges {
  const given = [...set, ...add].flatMap(({ name, value }) => [name.toLowerCase(), value]);
  const taken = [...set.map(({ name }) => name), ...remove].map((name) => name.toLowerCase());
  return { taken: new Set(taken), given };
}
