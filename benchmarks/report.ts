/** What benchmarks give back, and how it is shown: a table for people, one line of JSON for programs. */
import { mkdirSync, writeFileSync } from "node:fs";

export interface Options {
  /** A smoke test for CI: small counts, numbers that mean little. */
  readonly quick: boolean;
  /** Over gRPC, where a benchmark has both protocols. */
  readonly grpc: boolean;
  /** One line on stderr. */
  readonly progress: (line: string) => void;
  /** How long the part that takes any time takes; undefined: the benchmark's own choice. */
  readonly seconds?: number | undefined;
  /** Of what happens by chance; undefined: a new one. */
  readonly seed?: number | undefined;
  /** Only the parts whose names begin so; undefined: all. */
  readonly only?: string | undefined;
}

export interface Row {
  /** `<benchmark>.<quantity>[.<variant>]` */
  readonly metric: string;
  readonly value: number;
  readonly unit: string;
  /** Distance between the quartiles of the rounds, in `unit`; null for a single measurement. */
  readonly spread: number | null;
  /** The value must not exceed it, or with `atLeast` fall below it; null: reported for context. */
  readonly bar: number | null;
  /** The bar is a lower bound. */
  readonly atLeast?: true;
  /** null where there is no bar. */
  readonly holds: boolean | null;
}

/** A row from the rounds of a measurement: their median and spread. */
export function row(
  metric: string,
  unit: string,
  samples: readonly number[],
  bar: number | null = null,
): Row {
  const value = significant(quantile(samples, 0.5));
  const spread =
    samples.length < 2 ? null : significant(quantile(samples, 0.75) - quantile(samples, 0.25));
  return { metric, value, unit, spread, bar, holds: bar === null ? null : value <= bar };
}

/**
 * As `row`, with the lower quartile instead of the median: for times that others of the machine may
 * lengthen, for minutes on end, and nothing shortens.
 */
export function undisturbed(
  metric: string,
  unit: string,
  samples: readonly number[],
  bar: number | null = null,
): Row {
  const value = significant(quantile(samples, 0.25));
  return { ...row(metric, unit, samples), value, bar, holds: bar === null ? null : value <= bar };
}

/** As `row`, for a value that must not fall below its bar. */
export function atLeast(
  metric: string,
  unit: string,
  samples: readonly number[],
  bar: number,
): Row {
  const one = row(metric, unit, samples, bar);
  return { ...one, atLeast: true, holds: one.value >= bar };
}

export function quantile(samples: readonly number[], q: number): number {
  if (samples.length === 0) throw new Error("no samples");
  const sorted = samples.toSorted((a, b) => a - b);
  const at = q * (sorted.length - 1);
  const low = sorted[Math.floor(at)]!;
  return low + (sorted[Math.ceil(at)]! - low) * (at - Math.floor(at));
}

function significant(value: number): number {
  return Number(value.toPrecision(4));
}

/** Writes to stdout, nothing else does. */
export function print(name: string, rows: readonly Row[], json: boolean): void {
  process.stdout.write(
    json
      ? `${JSON.stringify(documentOf(name, rows))}\n`
      : table(rows, process.stdout.columns ?? 100, coloured()),
  );
}

/** Keeps a run as `benchmarks/results/<name>.json`. */
export function save(name: string, rows: readonly Row[]): void {
  const folder = new URL("./results/", import.meta.url);
  mkdirSync(folder, { recursive: true });
  const text = `${JSON.stringify(documentOf(name, rows), null, 2)}\n`;
  writeFileSync(new URL(`${name}.json`, folder), text);
}

function documentOf(name: string, rows: readonly Row[]): object {
  return { name, node: process.version, rows };
}

function coloured(): boolean {
  return process.stdout.isTTY === true && (process.env["NO_COLOR"] ?? "") === "";
}

const GREEN = 32;
const RED = 31;
const DIM = 2;

function table(rows: readonly Row[], columns: number, colour: boolean): string {
  const head = ["metric", "value", "unit", "spread", "bar", "holds"];
  const cells = rows.map((one) => [
    one.metric,
    String(one.value),
    one.unit,
    one.spread === null ? "" : `±${one.spread}`,
    one.bar === null ? "" : `${one.atLeast === true ? "≥" : "≤"} ${one.bar}`,
    one.holds === null ? "" : one.holds ? "yes" : "NO",
  ]);
  const widths = head.map((title, i) =>
    Math.max(title.length, ...cells.map((line) => line[i]!.length)),
  );
  // Too wide: names give way first, from their middle, because both ends tell what was measured.
  const over = widths.reduce((sum, width) => sum + width + 2, -2) - columns;
  if (over > 0) widths[0] = Math.max(12, widths[0]! - over);
  const lineOf = (line: readonly string[]): string =>
    line
      .map((cell, i) => {
        const text = shorten(cell, widths[i]!);
        return i === 1 || i === 3 || i === 4 ? text.padStart(widths[i]!) : text.padEnd(widths[i]!);
      })
      .join("  ")
      .trimEnd();
  const paint = (text: string, code: number): string =>
    colour ? `\u001B[${code}m${text}\u001B[0m` : text;
  const lines = cells.map((line, i) => {
    const { holds } = rows[i]!;
    return holds === null ? lineOf(line) : paint(lineOf(line), holds ? GREEN : RED);
  });
  return `${[paint(lineOf(head), DIM), ...lines].join("\n")}\n`;
}

function shorten(text: string, width: number): string {
  if (text.length <= width) return text;
  const left = Math.ceil((width - 1) / 2);
  return `${text.slice(0, left)}…${text.slice(text.length - (width - 1 - left))}`;
}
