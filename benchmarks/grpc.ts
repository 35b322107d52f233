/**
 * What a gRPC call over the mesh costs its process beside bare grpc-js, both to one server: CPU per
 * unary call (user and system, all threads) and messages through streams. Both clients run at once,
 * each in its own process, and take turns of some ten milliseconds (ABBA), so that whatever else the
 * machine does meets both; a ratio is one of a round of turns. Fresh processes a few times over,
 * because the same code is not compiled alike twice.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { ask } from "./child.ts";
import type { GrpcClient, GrpcLoad, GrpcRun, GrpcSlice } from "./child/grpc.ts";
import { serverRows } from "./grpc-served.ts";
import { atLeast, quantile, row, type Options, type Row } from "./report.ts";

export const describe = "CPU per unary call and throughput of streams, beside bare grpc-js";

const CLIENTS: readonly GrpcClient[] = ["inmesh", "bare"];
const FLAGS = ["--no-warnings", "--conditions=inmesh-source"];

type Runs = Record<GrpcClient, GrpcRun[]>;

/** How much of what: fresh pairs of processes, rounds in them, turns in a round, calls or messages in one. */
const AMOUNTS = { pairs: 4, rounds: 6, turns: 8, calls: 400, messages: 2_000 };
const QUICK = { pairs: 1, rounds: 2, turns: 2, calls: 200, messages: 500 };
const WARM_TURNS = 20;

export async function run(options: Options): Promise<Row[]> {
  const { quick, progress } = options;
  const { pairs, rounds, turns, calls, messages } = quick ? QUICK : AMOUNTS;
  const unary: Runs = { inmesh: [], bare: [] };
  const stream: Runs = { inmesh: [], bare: [] };
  for (let pair = 1; pair <= pairs; pair++) {
    const path = fileURLToPath(new URL("./child/grpc-server.ts", import.meta.url));
    const server = fork(path, [], { execArgv: ["--no-warnings"] });
    const [{ port }] = (await once(server, "message")) as [{ port: number }];
    const children = await Promise.all(CLIENTS.map((client) => start({ client, port })));
    const round = async (slice: GrpcSlice, count: number, runs?: Runs): Promise<void> => {
      const each: GrpcRun[][] = [[], []];
      for (let turn = 0; turn < count; turn++) {
        for (const i of turn % 2 === 0 ? [0, 1] : [1, 0]) {
          each[i]!.push(await ask<GrpcRun>(children[i]!, slice));
          await checkServed(server, slice);
        }
      }
      for (const [i, client] of CLIENTS.entries()) runs?.[client].push(meanOf(each[i]!));
    };
    const calling: GrpcSlice = { kind: "unary", count: calls };
    const streaming: GrpcSlice = { kind: "stream", count: messages };
    try {
      await round(calling, WARM_TURNS);
      for (let i = 0; i < rounds; i++) await round(calling, turns, unary);
      await round(streaming, WARM_TURNS);
      for (let i = 0; i < rounds; i++) await round(streaming, turns, stream);
    } finally {
      for (const child of [...children, server]) child.disconnect();
    }
    const cpu = quantile(ratiosOf(unary, cpuUs), 0.5).toFixed(3);
    const through = quantile(ratiosOf(stream, perMs), 0.5).toFixed(3);
    progress(`grpc: ${pair} of ${pairs} pairs of clients: unary ${cpu}, streams ${through}`);
  }
  return [...rowsOf(unary, stream), ...(await serverRows(options))];
}

/** The turns of a round, all of one size, as one. */
function meanOf(each: readonly GrpcRun[]): GrpcRun {
  const mean = (of: (one: GrpcRun) => number): number =>
    each.reduce((sum, one) => sum + of(one), 0) / each.length;
  return {
    cpuUs: mean(cpuUs),
    perMs: 1 / mean((one) => 1 / one.perMs),
    p50: mean(({ p50 }) => p50),
    p99: mean(({ p99 }) => p99),
  };
}

async function start(load: Pick<GrpcLoad, "client" | "port">): Promise<ChildProcess> {
  const path = fileURLToPath(new URL("./child/grpc.ts", import.meta.url));
  const argv = JSON.stringify({ ...load, concurrency: 50 } satisfies GrpcLoad);
  const child = fork(path, [argv], { execArgv: FLAGS });
  await once(child, "message");
  return child;
}

async function checkServed(server: ChildProcess, { kind, count }: GrpcSlice): Promise<void> {
  const { served } = await ask<{ served: number }>(server, {});
  const made = kind === "unary" ? count : 0;
  if (served !== made) throw new Error(`${made} calls made, ${served} served`);
}

function cpuUs(one: GrpcRun): number {
  return one.cpuUs;
}

function perMs(one: GrpcRun): number {
  return one.perMs;
}

function ratiosOf({ inmesh, bare }: Runs, of: (run: GrpcRun) => number): number[] {
  return inmesh.map((one, i) => of(one) / of(bare[i]!));
}

function rowsOf(unary: Runs, stream: Runs): Row[] {
  const rows = [
    row("grpc.cpu_ratio.unary", "×", ratiosOf(unary, cpuUs), 1.1),
    atLeast("grpc.throughput_ratio.stream", "×", ratiosOf(stream, perMs), 0.97),
    row("grpc.cpu_ratio.stream", "×", ratiosOf(stream, cpuUs)),
  ];
  const each = (metric: string, unit: string, runs: Runs, of: (run: GrpcRun) => number): void => {
    rows.push(
      row(metric, unit, runs.inmesh.map(of)),
      row(`${metric}.bare`, unit, runs.bare.map(of)),
    );
  };
  each("grpc.cpu_us", "µs", unary, cpuUs);
  each("grpc.p50_ms", "ms", unary, ({ p50 }) => p50);
  each("grpc.p99_ms", "ms", unary, ({ p99 }) => p99);
  each("grpc.messages_per_ms", "1/ms", stream, perMs);
  return rows;
}
