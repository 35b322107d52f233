/** What ran, how it ended, and how that is shown: a table for people, rows for programs. */
import type { Row } from "../../../../benchmarks/report.ts";

/** Why a case failed; undefined if it passed. */
export type Outcome = string | undefined;

interface Column {
  /** Cases that passed and of which no more is known. */
  others: number;
  readonly cases: Map<string, Outcome>;
  /** Cases that fail for a reason of grpc-js's own. */
  readonly excused: Set<string>;
}

/** Cases of one suite; each column is a way, and the first is grpc-js alone. */
export class Suite {
  readonly name: string;
  readonly columns: ReadonlyMap<string, Column>;

  constructor(name: string, columns: readonly string[]) {
    this.name = name;
    this.columns = new Map(
      columns.map((column) => [column, { others: 0, cases: new Map(), excused: new Set() }]),
    );
  }

  column(name: string): Column {
    return this.columns.get(name)!;
  }

  /** What grpc-js alone fails excuses the others; call it when every case is in. */
  excuseWhatBareFails(): void {
    const [bare] = this.columns.values();
    for (const { cases, excused } of this.columns.values()) {
      for (const [name, outcome] of cases) {
        if (outcome !== undefined && bare!.cases.get(name) !== undefined) excused.add(name);
      }
    }
  }
}

export interface Sum {
  passed: number;
  /** Ours: grpc-js alone passes them. */
  failed: number;
  /** Those that grpc-js alone fails as well, counted once for each column. */
  excused: number;
}

export function sumOf(suites: readonly Suite[]): Sum {
  const sum: Sum = { passed: 0, failed: 0, excused: 0 };
  for (const suite of suites) {
    for (const column of suite.columns.values()) {
      const failures = failuresOf(column);
      sum.passed += column.others + column.cases.size - failures.length;
      sum.excused += column.excused.size;
      sum.failed += failures.length - column.excused.size;
    }
  }
  return sum;
}

function failuresOf({ cases }: Column): string[] {
  return [...cases].filter(([, outcome]) => outcome !== undefined).map(([name]) => name);
}

/** How many failed of each suite and column; those of the mesh that are ours must be none. */
export function rowsOf(suites: readonly Suite[]): Row[] {
  const rows: Row[] = [];
  for (const suite of suites) {
    let bar: number | null = null;
    for (const [name, column] of suite.columns) {
      const at = `${suite.name}.${name.replaceAll(" ", "")}`;
      const { passed, failed, excused } = countsOf(column);
      const row = { unit: "cases", spread: null };
      rows.push({ ...row, metric: `interop.passed.${at}`, value: passed, bar: null, holds: null });
      rows.push({
        ...row,
        metric: `interop.grpc_js.${at}`,
        value: excused,
        bar: null,
        holds: null,
      });
      const holds = bar === null ? null : failed <= bar;
      rows.push({ ...row, metric: `interop.failed.${at}`, value: failed, bar, holds });
      bar = 0;
    }
  }
  return rows;
}

function countsOf(column: Column): Sum {
  const failures = failuresOf(column).length;
  const excused = column.excused.size;
  return {
    passed: column.others + column.cases.size - failures,
    failed: failures - excused,
    excused,
  };
}

/** More of them say less. */
const MAX_LISTED = 20;

/** Every case of a short suite; of a long one the numbers. Then what is ours, with its reason. */
export function tableOf(suite: Suite): string {
  const names = [...suite.columns.keys()];
  const columns = [...suite.columns.values()];
  const long = columns.some(({ others }) => others > 0);
  const lines = [[suite.name, ...names]];
  if (long) {
    const counts = columns.map(countsOf);
    lines.push(["passed", ...counts.map(({ passed }) => String(passed))]);
    lines.push(["fails in grpc-js", ...counts.map(({ excused }) => String(excused))]);
    lines.push(["FAILED", ...counts.map(({ failed }) => String(failed))]);
  } else {
    for (const name of new Set(columns.flatMap(({ cases }) => [...cases.keys()]))) {
      lines.push([name, ...columns.map((column) => wordFor(column, name))]);
    }
  }
  const width = Math.max(...lines.map(([name]) => name!.length));
  const text = lines.map((line) =>
    line
      .map((cell, i) => cell.padEnd(i === 0 ? width : 9))
      .join("  ")
      .trimEnd(),
  );
  for (const [way, { cases, excused }] of suite.columns) {
    const unexcused = [...cases].filter(([name, why]) => why !== undefined && !excused.has(name));
    for (const [name, why] of unexcused.slice(0, MAX_LISTED)) text.push(`${way}: ${name}: ${why}`);
    if (unexcused.length > MAX_LISTED)
      text.push(`${way}: and ${unexcused.length - MAX_LISTED} more`);
  }
  return `${text.join("\n")}\n`;
}

function wordFor({ cases, excused }: Column, name: string): string {
  if (!cases.has(name)) return "–";
  if (cases.get(name) === undefined) return "ok";
  return excused.has(name) ? "grpc-js" : "FAILED";
}
