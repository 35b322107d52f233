/**
 * Runs one benchmark: `npm run bench -- <name> [--json] [--quick] [--save] [--check]`.
 * Of `hostile` also `[--seconds N] [--seed N] [--only SURFACE]`, of `registry` `[--only PART]`.
 *
 * A benchmark is a module `benchmarks/<name>.ts`, listed in NAMES below and imported only when it
 * is asked for. The contract:
 *
 *   export const describe: string;                           // one line, for the list of names
 *   export function run(options: Options): Promise<Row[]>;   // Options and Row: see report.ts
 *
 * It throws if what it measures does not work; a bar that does not hold is a row with
 * `holds: false`, and an error only for who asked with `--check`. It writes nothing to stdout;
 * progress goes to `options.progress`. Code that must be measured in a fresh process stands in
 * `benchmarks/child/` (see child.ts).
 */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { print, save, type Options, type Row } from "./report.ts";

export interface Benchmark {
  readonly describe: string;
  run(options: Options): Promise<Row[]>;
}

const NAMES = [
  "seam",
  "parts",
  "startup",
  "memory",
  "http",
  "grpc",
  "tail",
  "dispatcher",
  "server",
  "shed",
  "rolling",
  "rollout",
  "config",
  "registry",
  "hostile",
  "telemetry",
  "discovery",
  "proxy",
  "proxy-life",
  "proxy-memory",
  "proxy-soak",
];

async function load(name: string): Promise<Benchmark | undefined> {
  const url = new URL(`./${name}.ts`, import.meta.url);
  if (!NAMES.includes(name) || !existsSync(fileURLToPath(url))) return undefined;
  return (await import(url.href)) as Benchmark;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
      grpc: { type: "boolean", default: false },
      save: { type: "boolean", default: false },
      check: { type: "boolean", default: false },
      seconds: { type: "string" },
      seed: { type: "string" },
      only: { type: "string" },
    },
  });
  const [name = ""] = positionals;
  const benchmark = await load(name);
  if (benchmark === undefined) {
    process.stderr.write(await usage());
    process.exitCode = name === "" ? 0 : 2;
    return;
  }
  const progress = (line: string): void => void process.stderr.write(`${line}\n`);
  let rows: Row[];
  try {
    rows = await benchmark.run({
      quick: values.quick,
      grpc: values.grpc,
      progress,
      seconds: numberOf(values.seconds),
      seed: numberOf(values.seed),
      only: values.only,
    });
  } catch (error) {
    progress(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
    return;
  }
  const title = values.grpc ? `${name}-grpc` : name;
  if (values.save) save(title, rows);
  print(title, rows, values.json);
  if (values.check && rows.some(({ holds }) => holds === false)) process.exitCode = 1;
}

function numberOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text);
}

async function usage(): Promise<string> {
  const lines = ["npm run bench -- <name> [--json] [--quick] [--grpc] [--save]\n"];
  for (const name of NAMES) {
    const benchmark = await load(name);
    if (benchmark !== undefined) lines.push(`  ${name.padEnd(12)}${benchmark.describe}`);
  }
  return `${lines.join("\n")}\n`;
}

await main();
