/**
 * What a gRPC call over the mesh costs its process beside bare grpc-js, both to one server: CPU per
 * unary call (user and system, all threads) and messages through streams. Fresh processes in turn,
 * forth and back (ABBA), and a ratio is one of neighbours in time.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { node } from "./child.ts";
import type { GrpcClient, GrpcLoad, GrpcRun } from "./child/grpc.ts";
import { serverRows } from "./grpc-served.ts";
import { atLeast, row, type Options, type Row } from "./report.ts";

export const describe = "CPU per unary call and throughput of streams, beside bare grpc-js";

const CLIENTS: readonly GrpcClient[] = ["inmesh", "bare"];
const FLAGS = ["--no-warnings", "--conditions=inmesh-source"];

export async function run(options: Options): Promise<Row[]> {
  const { quick, progress } = options;
  const path = fileURLToPath(new URL("./child/grpc-server.ts", import.meta.url));
  const server = fork(path, [], { execArgv: ["--no-warnings"] });
  try {
    const [{ port }] = (await once(server, "message")) as [{ port: number }];
    const [rounds, calls, messages] = quick ? [2, 1_000, 4_000] : [8, 12_000, 60_000];
    const measure = async (client: GrpcClient): Promise<GrpcRun> => {
      const load: GrpcLoad = {
        client,
        port,
        concurrency: 50,
        warmCalls: calls / 4,
        calls,
        messages,
      };
      const script = fileURLToPath(new URL("./child/grpc.ts", import.meta.url));
      const result = await node<GrpcRun>([...FLAGS, script, JSON.stringify(load)]);
      server.send("served");
      const [{ served }] = (await once(server, "message")) as [{ served: number }];
      const made = load.warmCalls + calls;
      if (served !== made) throw new Error(`${client}: ${made} calls, ${served} served`);
      return result;
    };

    const runs: Record<GrpcClient, GrpcRun[]> = { inmesh: [], bare: [] };
    for (let i = 0; i < rounds; i++) {
      for (const client of i % 2 === 0 ? CLIENTS : CLIENTS.toReversed()) {
        const result = await measure(client);
        runs[client].push(result);
        const { cpuUs, perMs } = result;
        progress(
          `grpc: round ${i + 1} of ${rounds}, ${client}: ${cpuUs.toFixed(1)} µs, ${perMs.toFixed(1)} messages/ms`,
        );
      }
    }
    return [...rowsOf(runs), ...(await serverRows(options))];
  } finally {
    server.disconnect();
  }
}

function rowsOf({ inmesh, bare }: Record<GrpcClient, GrpcRun[]>): Row[] {
  const ratios = (of: (run: GrpcRun) => number): number[] =>
    inmesh.map((one, i) => of(one) / of(bare[i]!));
  const rows = [
    row(
      "grpc.cpu_ratio.unary",
      "×",
      ratios(({ cpuUs }) => cpuUs),
      1.1,
    ),
    atLeast(
      "grpc.throughput_ratio.stream",
      "×",
      ratios(({ perMs }) => perMs),
      0.97,
    ),
  ];
  const each = (metric: string, unit: string, of: (run: GrpcRun) => number): void => {
    rows.push(row(metric, unit, inmesh.map(of)), row(`${metric}.bare`, unit, bare.map(of)));
  };
  each("grpc.cpu_us", "µs", ({ cpuUs }) => cpuUs);
  each("grpc.p50_ms", "ms", ({ p50 }) => p50);
  each("grpc.p99_ms", "ms", ({ p99 }) => p99);
  each("grpc.messages_per_ms", "1/ms", ({ perMs }) => perMs);
  return rows;
}
