/**
 * What the way through `mesh.dispatcher` costs callers who stay with their client: CPU per request
 * (user and system, all threads) of the same caller with and without the mesh, in turns (turns.ts).
 * One endpoint, and the same connections for all.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { ask } from "./child.ts";
import type { Caller, DispatcherLoad, DispatcherRun } from "./child/dispatcher.ts";
import { quantile, row, type Options, type Row } from "./report.ts";
import { inTurns, ratios, setMedians, type Amounts, type Player, type Samples } from "./turns.ts";

export const describe =
  "CPU per request of fetch and undici request, through mesh.dispatcher and bare";

const CONCURRENCY = 50;
const BARS = { fetch: 1.1, request: 1.2 } as const;
const CALLERS: readonly Caller[] = ["fetch", "fetch_mesh", "request", "request_mesh"];
const FLAGS = ["--no-warnings", "--conditions=inmesh-source", "--max-semi-space-size=64"];
/** Of one turn. */
const CALLS = 500;
/** The first 25,000 fetches of a process are still being compiled: through the mesh there is more to compile. */
const AMOUNTS: Amounts = { sets: 6, rounds: 5, turns: 8, warmTurns: 60 };
const QUICK: Amounts = { sets: 1, rounds: 3, turns: 4, warmTurns: 30 };

type Metric = keyof DispatcherRun;

export async function run({ quick, progress }: Options): Promise<Row[]> {
  const path = fileURLToPath(new URL("./child/http-server.ts", import.meta.url));
  const server = fork(path, ["1"], { execArgv: ["--no-warnings"] });
  try {
    const [{ ports }] = (await once(server, "message")) as [{ ports: number[] }];
    const start = async (caller: Caller): Promise<Player<Metric>> => {
      const script = fileURLToPath(new URL("./child/dispatcher.ts", import.meta.url));
      const load: DispatcherLoad = { caller, port: ports[0]!, concurrency: CONCURRENCY };
      const child = fork(script, [JSON.stringify(load)], { execArgv: FLAGS });
      await once(child, "message");
      return {
        async turn() {
          const measured = await ask<DispatcherRun>(child, { calls: CALLS });
          // The caller has checked every reply; the server's count is compared.
          const { served } = await ask<{ served: number }>(server, {});
          if (served !== CALLS) throw new Error(`${caller}: ${CALLS} calls, ${served} served`);
          return measured;
        },
        close: () => child.disconnect(),
      };
    };
    const amounts = quick ? QUICK : AMOUNTS;
    const samples = await inTurns(CALLERS, amounts, start, (set, soFar) => {
      const of = (caller: "fetch" | "request"): string =>
        quantile(ratios(soFar, `${caller}_mesh`, caller, "cpuUs"), 0.5).toFixed(3);
      progress(
        `dispatcher: ${set} of ${amounts.sets} sets: fetch ${of("fetch")}, request ${of("request")}`,
      );
    });
    return rowsOf(samples, amounts);
  } finally {
    server.disconnect();
  }
}

function rowsOf(samples: Samples<Caller, Metric>, amounts: Amounts): Row[] {
  const rows: Row[] = [];
  for (const caller of ["fetch", "request"] as const) {
    const each = setMedians(ratios(samples, `${caller}_mesh`, caller, "cpuUs"), amounts);
    rows.push(row(`dispatcher.cpu_ratio.${caller}`, "×", each, BARS[caller]));
  }
  for (const caller of CALLERS) {
    const of = (metric: Metric): number[] => samples[caller].map((one) => one[metric]);
    rows.push(row(`dispatcher.cpu_us.${caller}`, "µs", of("cpuUs")));
    rows.push(row(`dispatcher.p50_ms.${caller}`, "ms", of("p50")));
  }
  return rows;
}
