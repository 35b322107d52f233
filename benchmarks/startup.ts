/**
 * What importing inmesh costs a process, beyond the import of undici that it needs anyway. Measures
 * the built packages (`npm run build` first), because that is what applications import.
 */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { node } from "./child.ts";
import { row, type Options, type Row } from "./report.ts";

export const describe = "import of the built inmesh in a fresh process, compared with undici alone";

const BAR_MS = 25;
const ENTRY = new URL("../packages/inmesh/dist/index.js", import.meta.url);

interface Import {
  readonly ms: number;
  readonly heapKb: number;
}

/** The script of the fresh process; nothing is imported before the clock starts. */
function script(specifier: string, exports: readonly string[]): string {
  return `
    const before = performance.now();
    const module = await import(${JSON.stringify(specifier)});
    const ms = performance.now() - before;
    for (const name of ${JSON.stringify(exports)}) {
      if (typeof module[name] !== "function") throw new Error(name + " is not exported");
    }
    globalThis.gc();
    console.log(JSON.stringify({ ms, heapKb: process.memoryUsage().heapUsed / 1024 }));
  `;
}

function measure(specifier: string, exports: readonly string[]): Promise<Import> {
  const code = script(specifier, exports);
  return node<Import>(["--no-warnings", "--expose-gc", "--input-type=module", "-e", code]);
}

export async function run({ quick, progress }: Options): Promise<Row[]> {
  if (!existsSync(fileURLToPath(ENTRY))) {
    throw new Error("packages/inmesh/dist/index.js is missing; run npm run build first");
  }
  const rounds = quick ? 3 : 21;
  const inmesh: Import[] = [];
  const undici: Import[] = [];
  const none: Import[] = [];
  // Round -1 only fills the file system's cache.
  for (let round = -1; round < rounds; round++) {
    if (round % 5 === 0) progress(`startup: round ${round + 1} of ${rounds}`);
    const taken = [
      await measure(ENTRY.href, ["meshClient", "createMesh"]),
      await measure("undici", ["fetch", "Pool"]),
      await measure("node:path", []),
    ] as const;
    if (round < 0) continue;
    inmesh.push(taken[0]);
    undici.push(taken[1]);
    none.push(taken[2]);
  }
  const over = inmesh.map(({ ms }, i) => ms - undici[i]!.ms);
  const heap = (of: readonly Import[]): number[] =>
    of.map(({ heapKb }, i) => heapKb - none[i]!.heapKb);
  return [
    row("startup.import_ms_over_undici", "ms", over, BAR_MS),
    row(
      "startup.import_ms",
      "ms",
      inmesh.map(({ ms }) => ms),
    ),
    row(
      "startup.import_ms.undici",
      "ms",
      undici.map(({ ms }) => ms),
    ),
    row("startup.heap_kb", "KiB", heap(inmesh)),
    row("startup.heap_kb.undici", "KiB", heap(undici)),
  ];
}
