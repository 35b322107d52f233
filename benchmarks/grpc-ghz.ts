/**
 * The servers of grpc-served.ts under the load of ghz, a client that is not ours and not grpc-js's:
 * CPU per unary call, and what the client saw. Each turn is a run of ghz, with a connection of its
 * own. Where there is no ghz, one line says so and there are no rows.
 */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { findGhz } from "../packages/grpc/test/interop/peers.ts";
import { ask } from "./child.ts";
import type { Served } from "./child/served.ts";
import { CONCURRENCY, KINDS, startServer, TRACEPARENT, type Kind } from "./grpc-served.ts";
import { quantile, row, type Options, type Row } from "./report.ts";
import { inTurns, ratios, setMedians, type Amounts, type Player } from "./turns.ts";

const PROTO = fileURLToPath(new URL("./child/bytes.proto", import.meta.url));
const BODY = Buffer.alloc(23, 7).toString("base64"); // 25 bytes as a message

const CALLS = 600;
const AMOUNTS: Amounts = { sets: 4, rounds: 16, turns: 2, warmTurns: 12 };
const QUICK: Amounts = { sets: 1, rounds: 2, turns: 2, warmTurns: 6 };

/** The part read here of what ghz prints. */
interface GhzReport {
  readonly statusCodeDistribution: Readonly<Record<string, number>>;
  /** Nanoseconds. */
  readonly latencyDistribution: readonly { percentage: number; latency: number }[];
}

type Metric = "cpuUs" | "p50" | "p99";

export async function ghzRows({ quick, progress }: Options): Promise<Row[]> {
  const ghz = findGhz();
  if (ghz === undefined) {
    progress("grpc: no ghz (`npm run interop -- ghz` builds it): no rows grpc.ghz");
    return [];
  }
  const amounts = quick ? QUICK : AMOUNTS;
  const samples = await inTurns(
    KINDS,
    amounts,
    (kind) => start(ghz, kind),
    (set, soFar) => {
      const ratio = quantile(ratios(soFar, "mesh", "bare", "cpuUs"), 0.5).toFixed(3);
      progress(`grpc: ${set} of ${amounts.sets} pairs of servers under ghz: ${ratio}`);
    },
  );
  const ratio = setMedians(ratios(samples, "mesh", "bare", "cpuUs"), amounts);
  const rows = [row("grpc.ghz.cpu_ratio.server", "×", ratio)];
  const each = (name: string, unit: string, metric: Metric): void => {
    const of = (kind: Kind): number[] => samples[kind].map((one) => one[metric]);
    rows.push(row(name, unit, of("mesh")), row(`${name}.bare`, unit, of("bare")));
  };
  each("grpc.ghz.cpu_us.server", "µs", "cpuUs");
  each("grpc.ghz.p50_ms", "ms", "p50");
  each("grpc.ghz.p99_ms", "ms", "p99");
  return rows;
}

async function start(ghz: string, kind: Kind): Promise<Player<Metric>> {
  const { child, address } = await startServer(kind);
  return {
    async turn() {
      await ask(child, {});
      const { p50, p99 } = await load(ghz, address);
      const { cpuUs, requests } = await ask<Served>(child, {});
      if (requests !== CALLS) throw new Error(`${kind}: ${CALLS} calls, ${requests} served`);
      return { cpuUs: cpuUs / CALLS, p50, p99 };
    },
    close: () => child.disconnect(),
  };
}

/** One processor is the client's, the other the server's. It sends a deadline, and a trace. */
async function load(ghz: string, address: string): Promise<Record<"p50" | "p99", number>> {
  const options = {
    cpus: 1,
    format: "json",
    timeout: "5s",
    proto: PROTO,
    call: "bench.Bytes.Echo",
    metadata: JSON.stringify({ traceparent: TRACEPARENT }),
    data: JSON.stringify({ body: BODY }),
    concurrency: CONCURRENCY,
    total: CALLS,
  };
  const args = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
  const { stdout } = await promisify(execFile)(ghz, ["--insecure", ...args, address]);
  const report = JSON.parse(stdout) as GhzReport;
  if (report.statusCodeDistribution["OK"] !== CALLS) {
    throw new Error(`ghz: ${JSON.stringify(report.statusCodeDistribution)}`);
  }
  const ms = (wanted: number): number =>
    report.latencyDistribution.find(({ percentage }) => percentage === wanted)!.latency / 1e6;
  return { p50: ms(50), p99: ms(99) };
}
