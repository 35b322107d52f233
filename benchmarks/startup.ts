/**
 * What importing inmesh costs a process, beyond the import of undici that it needs anyway, and what
 * installing it costs a disk. Builds the packages and measures those, because that is what applications
 * import.
 */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { installedMb, MAX_INSTALLED_MB, packInto } from "../scripts/installed-size.ts";
import { node } from "./child.ts";
import { row, type Options, type Row } from "./report.ts";

export const describe =
  "import of the built inmesh in a fresh process, compared with undici alone; installed size; start of npx inmesh";

const BAR_MS = 25;
/** From the start of the process to its end, with Node's own start in it. */
const CLI_BAR_MS = 120;
const ROOT = join(import.meta.dirname, "..");
const PROGRAM = join(ROOT, "packages/inmesh/dist/cli/run.js");
const ENTRY = new URL("../packages/inmesh/dist/index.mjs", import.meta.url);
const HTTP = new URL("../packages/http/dist/index.mjs", import.meta.url);
const KUBERNETES = new URL("../packages/discovery-k8s/dist/index.mjs", import.meta.url);
/** In a pod alone: the kind of discovery, without its watch. */
const KUBERNETES_BAR_MS = 15;

interface Import {
  readonly ms: number;
  readonly heapKb: number;
}

/** The script of the fresh process; nothing but `first` is imported before the clock starts. */
function script(specifier: string, exports: readonly string[], first: string): string {
  return `
    await import(${JSON.stringify(first)});
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

function measure(
  specifier: string,
  exports: readonly string[],
  first = "node:path",
): Promise<Import> {
  const code = script(specifier, exports, first);
  return node<Import>(["--no-warnings", "--expose-gc", "--input-type=module", "-e", code]);
}

/** How long a process takes, from its start to its end. */
async function took(args: readonly string[]): Promise<number> {
  const before = performance.now();
  await promisify(execFile)(process.execPath, args);
  return performance.now() - before;
}

/** Answers as a process does that has not called anything: what `inmesh stat` needs to end. */
async function answering(): Promise<Server> {
  const about = { apiVersion: "inmesh.dev/v1", instance: "", readAtWallMs: 0, uptimeMs: 1 };
  const lists = { measured: true, latencyBoundsSeconds: [], services: [], servers: [] };
  const text = JSON.stringify({ ...about, kind: "Services", ...lists });
  const server = createServer((_request, response) => response.end(text));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

export async function run({ quick, progress }: Options): Promise<Row[]> {
  progress("startup: building the packages");
  await promisify(execFile)("npm", ["run", "--silent", "build"], { cwd: ROOT });
  const rounds = quick ? 3 : 21;
  const inmesh: Import[] = [];
  const undici: Import[] = [];
  const none: Import[] = [];
  const kubernetes: number[] = [];
  const cli: number[] = [];
  const question: number[] = [];
  const empty: number[] = [];
  const server = await answering();
  const admin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  // Round -1 only fills the file system's cache.
  for (let round = -1; round < rounds; round++) {
    if (round % 5 === 0) progress(`startup: round ${round + 1} of ${rounds}`);
    const taken = [
      await measure(ENTRY.href, ["meshClient", "createMesh"]),
      await measure("undici", ["fetch", "Pool"]),
      await measure("node:path", []),
      await measure(KUBERNETES.href, ["kubernetes"], HTTP.href),
    ] as const;
    const times = [
      await took([PROGRAM, "--help"]),
      await took([PROGRAM, "stat", "--admin", admin]),
      await took(["-e", "0"]),
    ] as const;
    if (round < 0) continue;
    cli.push(times[0]);
    question.push(times[1]);
    empty.push(times[2]);
    inmesh.push(taken[0]);
    undici.push(taken[1]);
    none.push(taken[2]);
    kubernetes.push(taken[3].ms);
  }
  server.close();
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
    row("startup.import_ms.discovery_k8s", "ms", kubernetes, KUBERNETES_BAR_MS),
    row("startup.heap_kb", "KiB", heap(inmesh)),
    row("startup.heap_kb.undici", "KiB", heap(undici)),
    row("cli.start_ms", "ms", cli, CLI_BAR_MS),
    row("cli.start_ms.question", "ms", question, CLI_BAR_MS),
    row("cli.start_ms.node", "ms", empty),
    row("startup.installed_mb", "MB", [await installed(progress)], MAX_INSTALLED_MB),
  ];
}

async function installed(progress: Options["progress"]): Promise<number> {
  progress("startup: installing the tarballs");
  const folder = mkdtempSync(join(tmpdir(), "inmesh-tarballs-"));
  try {
    return await installedMb(await packInto(folder));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
