/**
 * What a gRPC call over the mesh costs its process beside bare grpc-js, both to one server: CPU per
 * unary call (user and system, all threads) and messages through streams, in turns (turns.ts).
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { ask } from "./child.ts";
import type { GrpcClient, GrpcLoad, GrpcRun, GrpcSlice } from "./child/grpc.ts";
import { ghzRows } from "./grpc-ghz.ts";
import { serverRows } from "./grpc-served.ts";
import { atLeast, quantile, row, type Options, type Row } from "./report.ts";
import { inTurns, ratios, setMedians, type Amounts, type Player, type Samples } from "./turns.ts";

export const describe = "CPU per unary call and throughput of streams, beside bare grpc-js";

const CLIENTS: readonly GrpcClient[] = ["inmesh", "bare"];
const FLAGS = ["--no-warnings", "--conditions=inmesh-source"];

type Metric = keyof GrpcRun;
type Runs = Samples<GrpcClient, Metric>;

/**
 * Rounds of four turns, forth and back, so that a ratio compares what ran within a fraction of a second:
 * a single one is off by a tenth on a machine that does other things besides, the median of a set by
 * a fiftieth.
 */
const AMOUNTS: Record<GrpcSlice["kind"], Amounts> = {
  unary: { sets: 5, rounds: 20, turns: 2, warmTurns: 20 },
  stream: { sets: 6, rounds: 40, turns: 2, warmTurns: 20 },
};
const QUICK: Amounts = { sets: 1, rounds: 2, turns: 2, warmTurns: 20 };
const QUICK_AMOUNTS: typeof AMOUNTS = { unary: QUICK, stream: QUICK };
/** Calls, and messages each way, of one turn: enough for some garbage to be collected in each. */
const COUNTS = { unary: 400, stream: 1_000 };
const QUICK_COUNTS = { unary: 200, stream: 500 };

export async function run(options: Options): Promise<Row[]> {
  const { quick, progress } = options;
  const amounts = quick ? QUICK_AMOUNTS : AMOUNTS;
  const counts = quick ? QUICK_COUNTS : COUNTS;
  const path = fileURLToPath(new URL("./child/grpc-server.ts", import.meta.url));
  const server = fork(path, [], { execArgv: ["--no-warnings"] });
  try {
    const [{ port }] = (await once(server, "message")) as [{ port: number }];
    const runs = (kind: GrpcSlice["kind"], metric: Metric): Promise<Runs> =>
      inTurns(
        CLIENTS,
        amounts[kind],
        (client) => start({ client, port }, { kind, count: counts[kind] }, server),
        (set, soFar) => {
          const ratio = quantile(ratios(soFar, "inmesh", "bare", metric), 0.5).toFixed(3);
          progress(`grpc: ${set} of ${amounts[kind].sets} pairs of clients: ${kind} ${ratio}`);
        },
      );
    const unary = await runs("unary", "cpuUs");
    const stream = await runs("stream", "msPer");
    const served = [...(await serverRows(options)), ...(await ghzRows(options))];
    return [...rowsOf(unary, stream, amounts), ...served];
  } finally {
    server.disconnect();
  }
}

async function start(
  load: Pick<GrpcLoad, "client" | "port">,
  slice: GrpcSlice,
  server: ChildProcess,
): Promise<Player<Metric>> {
  const path = fileURLToPath(new URL("./child/grpc.ts", import.meta.url));
  const argv = JSON.stringify({ ...load, concurrency: 50 } satisfies GrpcLoad);
  const child = fork(path, [argv], { execArgv: FLAGS });
  await once(child, "message");
  return {
    async turn() {
      const measured = await ask<GrpcRun>(child, slice);
      await checkServed(server, slice);
      return measured;
    },
    close: () => child.disconnect(),
  };
}

async function checkServed(server: ChildProcess, { kind, count }: GrpcSlice): Promise<void> {
  const { served } = await ask<{ served: number }>(server, {});
  const made = kind === "unary" ? count : 0;
  if (served !== made) throw new Error(`${made} calls made, ${served} served`);
}

function rowsOf(unary: Runs, stream: Runs, amounts: typeof AMOUNTS): Row[] {
  // Throughput is the inverse of what a message takes.
  const through = setMedians(ratios(stream, "bare", "inmesh", "msPer"), amounts.stream);
  const unaryCpu = setMedians(ratios(unary, "inmesh", "bare", "cpuUs"), amounts.unary);
  const streamCpu = setMedians(ratios(stream, "inmesh", "bare", "cpuUs"), amounts.stream);
  const rows = [
    row("grpc.cpu_ratio.unary", "×", unaryCpu, 1.1),
    atLeast("grpc.throughput_ratio.stream", "×", through, 0.97),
    row("grpc.cpu_ratio.stream", "×", streamCpu),
  ];
  const each = (name: string, unit: string, runs: Runs, of: (run: GrpcRun) => number): void => {
    rows.push(row(name, unit, runs.inmesh.map(of)), row(`${name}.bare`, unit, runs.bare.map(of)));
  };
  each("grpc.cpu_us", "µs", unary, ({ cpuUs }) => cpuUs);
  each("grpc.p50_ms", "ms", unary, ({ p50 }) => p50);
  each("grpc.p99_ms", "ms", unary, ({ p99 }) => p99);
  each("grpc.messages_per_ms", "1/ms", stream, ({ msPer }) => 1 / msPer);
  return rows;
}
