/** What ran, how it ended, and how that is shown: a table for people, rows for programs. */
import type { Row } from "../../../../benchmarks/report.ts";

/** `undefined`: it passed. A text: why it failed. */
export type Outcome = string | undefined;

/** Cases of one suite; each column is a way, and the first is grpc-js alone. */
export class Suite {
  readonly name: string;
  readonly columns: readonly string[];
  /** By case, then by column; a case that makes no sense for a column is not there. */
  readonly cases: Map<string, Map<string, Outcome>> = new Map();

  constructor(name: string, columns: readonly string[]) {
    this.name = name;
    this.columns = columns;
  }

  add(name: string, column: string, outcome: Outcome): void {
    let row = this.cases.get(name);
    if (row === undefined) this.cases.set(name, (row = new Map()));
    row.set(column, outcome);
  }

  /** Does it fail only because grpc-js alone fails as well? */
  excused(name: string, column: string): boolean {
    const row = this.cases.get(name)!;
    const [bare] = this.columns;
    return row.get(column) !== undefined && row.get(bare!) !== undefined;
  }
}

export interface Sum {
  passed: number;
  /** Ours: grpc-js alone passes them. */
  failed: number;
  /** Those that grpc-js alone fails, counted once for each column. */
  excused: number;
}

export function sumOf(suites: readonly Suite[]): Sum {
  const sum: Sum = { passed: 0, failed: 0, excused: 0 };
  for (const { suite, name, column, outcome } of each(suites)) {
    if (outcome === undefined) sum.passed += 1;
    else if (suite.excused(name, column)) sum.excused += 1;
    else sum.failed += 1;
  }
  return sum;
}

/** One row for each case and column: how many failed, 0 or 1; those of the mesh must be 0. */
export function rowsOf(suites: readonly Suite[]): Row[] {
  return [...each(suites)].map(({ suite, name, column, outcome }) => {
    const value = outcome === undefined ? 0 : 1;
    const free = column === suite.columns[0] || suite.excused(name, column);
    const metric = `interop.${suite.name}.${name}.${column.replaceAll(" ", "")}`;
    const bar = free ? null : 0;
    return { metric, value, unit: "failures", spread: null, bar, holds: free ? null : value === 0 };
  });
}

export function tableOf(suite: Suite): string {
  const width = Math.max(suite.name.length, ...[...suite.cases.keys()].map((one) => one.length));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => cell.padEnd(i === 0 ? width : 9))
      .join("  ")
      .trimEnd();
  const lines = [line([suite.name, ...suite.columns])];
  const reasons: string[] = [];
  for (const [name, row] of suite.cases) {
    const cells = suite.columns.map((column) => {
      if (!row.has(column)) return "–";
      const outcome = row.get(column);
      if (outcome === undefined) return "ok";
      reasons.push(`${name}, ${column}: ${outcome}`);
      return suite.excused(name, column) ? "grpc-js" : "FAILED";
    });
    lines.push(line([name, ...cells]));
  }
  return `${[...lines, ...reasons].join("\n")}\n`;
}

function* each(suites: readonly Suite[]): Generator<{
  readonly suite: Suite;
  readonly name: string;
  readonly column: string;
  readonly outcome: Outcome;
}> {
  for (const suite of suites) {
    for (const [name, row] of suite.cases) {
      for (const [column, outcome] of row) yield { suite, name, column, outcome };
    }
  }
}
