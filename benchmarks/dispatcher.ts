/**
 * What the way through `mesh.dispatcher` costs callers who stay with their client: CPU per request
 * (user and system, all threads) of the same caller with and without the mesh, in fresh processes
 * that take turns forth and back (ABBA). One endpoint, and the same connections for all.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { node } from "./child.ts";
import type { Caller, DispatcherLoad, DispatcherRun } from "./child/dispatcher.ts";
import { row, type Options, type Row } from "./report.ts";

export const describe =
  "CPU per request of fetch and undici request, through mesh.dispatcher and bare";

const CONCURRENCY = 50;
const BARS = { fetch: 1.1, request: 1.2 } as const;
const CALLERS: readonly Caller[] = ["fetch", "fetch_mesh", "request", "request_mesh"];
const FLAGS = ["--no-warnings", "--conditions=inmesh-source", "--max-semi-space-size=64"];

export async function run({ quick, progress }: Options): Promise<Row[]> {
  const path = fileURLToPath(new URL("./child/http-server.ts", import.meta.url));
  const server = fork(path, ["1"], { execArgv: ["--no-warnings"] });
  try {
    const [{ ports }] = (await once(server, "message")) as [{ ports: number[] }];
    const measure = async (caller: Caller, calls: number): Promise<DispatcherRun> => {
      const load: DispatcherLoad = {
        caller,
        port: ports[0]!,
        concurrency: CONCURRENCY,
        warmCalls: Math.ceil(calls / 2),
        calls,
      };
      const script = fileURLToPath(new URL("./child/dispatcher.ts", import.meta.url));
      const result = await node<DispatcherRun>([...FLAGS, script, JSON.stringify(load)]);
      server.send("served");
      const [{ served }] = (await once(server, "message")) as [{ served: number }];
      const made = load.warmCalls + calls;
      if (served !== made) throw new Error(`${caller}: ${made} calls, ${served} served`);
      return result;
    };

    // Every caller checks every reply, and the server's count is compared: before any timing too.
    for (const caller of CALLERS) await measure(caller, 500);
    const [rounds, calls] = quick ? [2, 15_000] : [6, 30_000];
    const runs = new Map<Caller, DispatcherRun[]>(CALLERS.map((caller) => [caller, []]));
    for (let i = 0; i < rounds; i++) {
      for (const caller of i % 2 === 0 ? CALLERS : CALLERS.toReversed()) {
        const result = await measure(caller, calls);
        runs.get(caller)!.push(result);
        const { cpuUs, p50 } = result;
        progress(
          `dispatcher: round ${i + 1} of ${rounds}, ${caller}: ${cpuUs.toFixed(1)} µs, p50 ${p50.toFixed(2)} ms`,
        );
      }
    }
    return rowsOf(runs);
  } finally {
    server.disconnect();
  }
}

function rowsOf(runs: ReadonlyMap<Caller, readonly DispatcherRun[]>): Row[] {
  const rows: Row[] = [];
  for (const caller of ["fetch", "request"] as const) {
    const bare = runs.get(caller)!;
    const ratios = runs.get(`${caller}_mesh`)!.map(({ cpuUs }, i) => cpuUs / bare[i]!.cpuUs);
    rows.push(row(`dispatcher.cpu_ratio.${caller}`, "×", ratios, BARS[caller]));
  }
  for (const caller of CALLERS) {
    const each = runs.get(caller)!;
    rows.push(
      row(
        `dispatcher.cpu_us.${caller}`,
        "µs",
        each.map(({ cpuUs }) => cpuUs),
      ),
    );
    rows.push(
      row(
        `dispatcher.p50_ms.${caller}`,
        "ms",
        each.map(({ p50 }) => p50),
      ),
    );
  }
  return rows;
}
