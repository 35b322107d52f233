/**
 * What a call over the mesh costs its process, beside what people use without one: CPU per request
 * (user and system, all threads) in a fresh process that runs the sources with their types
 * stripped, and latency. Servers are processes of their own. Opponents take turns forth and back
 * (ABBA), and a ratio is one of neighbours in time, so a slow minute of the machine falls on both.
 * For comparison, CPU of proxies per request on one core of such a machine, 50-byte replies:
 * linkerd2-proxy 52 to 60 µs, Envoy 58 to 70 µs, a pair of Linkerd sidecars with mTLS 81 to 88 µs.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { node } from "./child.ts";
import type { HttpClient, HttpLoad, HttpRun } from "./child/http.ts";
import { row, type Options, type Row } from "./report.ts";

export const describe = "CPU per request, latency and garbage of meshClient, beside its opponents";

const ENDPOINTS = 10;
const CONCURRENCY = 50;
const CLIENTS: readonly HttpClient[] = ["inmesh", "undici_rr", "dispatch", "glued", "fetch"];
const BARS: Partial<Record<HttpClient, number>> = { undici_rr: 1.15, glued: 0.6, fetch: 0.4 };
/** A young generation so large that few collections fall into a sample of the heap. */
const FLAGS = ["--no-warnings", "--conditions=inmesh-source", "--max-semi-space-size=64"];

export async function run({ quick, progress }: Options): Promise<Row[]> {
  const path = fileURLToPath(new URL("./child/http-server.ts", import.meta.url));
  const server = fork(path, [String(ENDPOINTS)], { execArgv: ["--no-warnings"] });
  try {
    const [{ ports }] = (await once(server, "message")) as [{ ports: number[] }];
    const measure = async (client: HttpClient, calls: number): Promise<HttpRun> => {
      const load: HttpLoad = {
        client,
        ports,
        concurrency: CONCURRENCY,
        warmCalls: Math.ceil(calls / 4),
        calls,
      };
      const script = fileURLToPath(new URL("./child/http.ts", import.meta.url));
      const result = await node<HttpRun>([...FLAGS, script, JSON.stringify(load)]);
      server.send("served");
      const [{ served }] = (await once(server, "message")) as [{ served: number }];
      const made = load.warmCalls + calls + SAMPLED;
      if (served !== made) throw new Error(`${client}: ${made} calls, ${served} served`);
      return result;
    };

    // Every client checks every reply, and the server's count is compared: before any timing too.
    for (const client of CLIENTS) await measure(client, 500);
    const [rounds, calls] = quick ? [2, 4_000] : [8, 30_000];
    const runs = new Map<HttpClient, HttpRun[]>(CLIENTS.map((client) => [client, []]));
    for (let i = 0; i < rounds; i++) {
      for (const client of i % 2 === 0 ? CLIENTS : CLIENTS.toReversed()) {
        const result = await measure(client, calls);
        runs.get(client)!.push(result);
        const { cpuUs, p50 } = result;
        progress(
          `http: round ${i + 1} of ${rounds}, ${client}: ${cpuUs.toFixed(1)} µs, p50 ${p50.toFixed(2)} ms`,
        );
      }
    }
    return rowsOf(runs);
  } finally {
    server.disconnect();
  }
}

/** Calls of the samples of the heap, see child/http.ts. */
const SAMPLED = 15 * 500;

function rowsOf(runs: ReadonlyMap<HttpClient, readonly HttpRun[]>): Row[] {
  const mesh = runs.get("inmesh")!;
  const rows: Row[] = [];
  for (const client of CLIENTS.slice(1)) {
    const ratios = runs.get(client)!.map(({ cpuUs }, i) => mesh[i]!.cpuUs / cpuUs);
    rows.push(row(`http.cpu_ratio.${client}`, "×", ratios, BARS[client] ?? null));
  }
  const each = (metric: string, unit: string, of: (run: HttpRun) => number): void => {
    for (const client of CLIENTS) {
      const samples = runs.get(client)!.map(of).filter(Number.isFinite);
      if (samples.length === 0) continue;
      rows.push(row(client === "inmesh" ? metric : `${metric}.${client}`, unit, samples));
    }
  };
  each("http.bytes_per_call", "B", ({ bytesPerCall }) => bytesPerCall);
  each("http.cpu_us", "µs", ({ cpuUs }) => cpuUs);
  each("http.p50_ms", "ms", ({ p50 }) => p50);
  each("http.p99_ms", "ms", ({ p99 }) => p99);
  return rows;
}
