/** Which facts of two runs are not the same, and which of those are listed. */
import type { Evidence } from "./evidence.ts";
import type { Difference, Place } from "./differences.ts";

export interface Found {
  readonly scenario: string;
  /** `P12` */
  readonly way: string;
  readonly fact: string;
  readonly library: unknown;
  readonly proxy: unknown;
}

export function compare(
  scenario: string,
  way: string,
  library: Evidence,
  proxy: Evidence,
): Found[] {
  const facts = new Set([...Object.keys(library), ...Object.keys(proxy)]);
  return [...facts]
    .filter((fact) => library[fact] !== proxy[fact])
    .map((fact) => ({ scenario, way, fact, library: library[fact], proxy: proxy[fact] }));
}

/** The places of the table that say so. */
export function listedAt(found: Found, table: readonly Difference[]): Place[] {
  return table
    .flatMap(({ at }) => at)
    .filter(
      ({ scenario, fact, way }) =>
        (scenario === undefined || scenario.test(found.scenario)) &&
        fact.test(found.fact) &&
        (way === undefined || way.test(found.way)),
    );
}
