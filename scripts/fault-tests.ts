/** Finds the tests of rows of docs/faults.md by their titles, which begin `C5 LC`. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface FaultTest {
  readonly id: string;
  readonly surface: string;
  readonly title: string;
  readonly file: string;
}

const root: string = join(import.meta.dirname, "..");
/** Where a row is played: an alternation for regular expressions. */
export const SURFACES = "CO|LC|LS|GC|GS|P11|P12|P21|P22|PT";
/** Why a cell has no test, as it stands in the table. */
export const REASON: RegExp = /^not (?:yet|applicable): \w/;
/** The first text after `test(`, `it(`, `test.each(…)(` and their like, or in a `describe`. */
const TITLE =
  /\b(?:it|test|describe)(?:\.concurrent)?(?:\.(?!concurrent)\w+(?:<[^>()]*>)?\([^]{0,2000}?\))?\(\s*(["'`])((?:\\.|(?!\1)[^\\])*)\1/g;
const CELL = new RegExp(`\\b([CHGDKTLBR]\\d{1,2}) (${SURFACES})\\b`, "g");
/** Not a surface: in `H4 P11:` the row stands before it. */
const PROMISE = /(?<!\b[CHGDKTLBR]\d{1,2} )\b(P\d{1,2}):/g;

export function faultTests(): FaultTest[] {
  return testsWith(CELL);
}

/** By promise, `P2`, the files of its tests as they stand in the table of promises. */
export function promiseFiles(): Map<string, string> {
  const files = filesOf(testsWith(PROMISE));
  return new Map([...files].map(([cell, text]) => [cell.trim(), text]));
}

function testsWith(pattern: RegExp): FaultTest[] {
  const files = globSync("packages/*/{src,test}/**/*.test.ts", { cwd: root });
  const found: FaultTest[] = [];
  for (const file of files.sort()) {
    const text = readFileSync(join(root, file), "utf8");
    for (const [, , title = ""] of text.matchAll(TITLE)) {
      for (const [, id = "", surface = ""] of title.matchAll(pattern)) {
        found.push({ id, surface, title, file });
      }
    }
  }
  return found;
}

/** By cell, `C5 LC`, the files of its tests as they stand in the table. */
export function filesOf(tests: readonly FaultTest[]): Map<string, string> {
  const cells = new Map<string, Set<string>>();
  for (const { id, surface, file } of tests) {
    const cell = `${id} ${surface}`;
    const files = cells.get(cell) ?? new Set();
    cells.set(cell, files.add(`\`${file.replace(/^packages\//, "")}\``));
  }
  return new Map([...cells].map(([cell, files]) => [cell, [...files].join(", ")]));
}
