/**
 * What a caller sees when one of three servers is bad. All of them are real processes; the servers
 * of each run are fresh, and clients run one after the other, but for what is compared: the healthy run and
 * the slow one are at the same time, so that what else the machine does meets both. Their processes have
 * run their code before (WARM_CALLS), because one that has just begun answers its first call after some
 * 100 ms, during which nothing can be learned of any endpoint; the mesh that is measured is new, and knows
 * nothing. `slow.cold` is a run without that. What has a bar and hangs on few calls is the median of
 * ROUNDS. On such runs linkerd2-proxy fails 0.67 of the requests beside a server that answers 500 at once
 * and 0.67 beside one that refuses connections, Envoy 0.49 and 0.31; beside a slow one their p99 is 1.15
 * and 11.6 times the healthy. With `--grpc` the same over gRPC, beside what grpc-js brings along. The rows
 * `tail.proxy` are those of mesh-proxy, without retries, for a client that has no mesh: a program of its own, which has
 * forwarded to each server under another name before, so that its code has run and its service knows nothing. `--only proxy`
 * measures those alone.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { child } from "./child.ts";
import type { TailRun } from "./child/tail.ts";
import type { Protocol, TailLoad, TailProxy } from "./child/tail-protocol.ts";
import type { Fault } from "./child/tail-server.ts";
import { FLAGS } from "./fleet.ts";
import { MeshProxy, replace } from "./proxy-program.ts";
import { row, type Options, type Row } from "./report.ts";

export const describe = "three servers, one bad: failed calls, share and p99, beside round robin";

const SERVERS = 3;
const PER_SECOND = 200;
const SECONDS = 12;
const QUICK_SECONDS = 2;
/** Clients for context show what they do soon. */
const QUICK_CONTEXT_SECONDS = 1;
/** To each server, at a time, before the run; see above. */
const WARM_CALLS = 50;
const ROUNDS = 5;
const MAX_SHARE = 0.005;
const MAX_P99_RATIO = 1.15;
const MAX_FAIL_FAST = 0.01;

type Plain = "round_robin" | "pick_first";
type Variant = "off" | "retries" | "proxy" | Plain;
type Result = TailRun & { readonly share: number };

export async function run({ quick, grpc, progress, only }: Options): Promise<Row[]> {
  const protocol: Protocol = grpc ? "grpc" : "http";
  const prefix = grpc ? "tail.grpc" : "tail";
  const plain: readonly Plain[] = grpc ? ["round_robin", "pick_first"] : ["round_robin"];
  const measure = async (fault: Fault, variant: Variant, round = 1, warmCalls = WARM_CALLS) => {
    const ours = variant === "off" || variant === "retries" || variant === "proxy";
    const seconds = quick ? (ours ? QUICK_SECONDS : QUICK_CONTEXT_SECONDS) : SECONDS;
    const result = await measured({ protocol, fault, variant, round, seconds, warmCalls });
    const { calls, failed, p50, p99, share, errors } = result;
    const name = (fault === "none" ? "healthy" : fault) + (warmCalls === 0 ? ", cold" : "");
    progress(
      `${prefix}: ${name}, ${variant}: ${failed} of ${calls} failed, p50 ${p50?.toFixed(1)} ms, p99 ${p99?.toFixed(1)} ms, share of the third ${share.toFixed(4)}` +
        (errors.length === 0 ? "" : ` (${errors[0]})`),
    );
    return result;
  };
  const rounds = quick ? 1 : ROUNDS;
  const throughProxy = grpc ? [] : await proxyRows(measure, rounds);
  if (only === "proxy") return throughProxy;
  const healthy: Result[] = [];
  const slow: Result[] = [];
  for (let round = 1; round <= rounds; round++) {
    const [well, ill] = await Promise.all([
      measure("none", "off", round),
      measure("slow", "off", round),
    ]);
    healthy.push(well);
    slow.push(ill);
  }
  for (const { failed, errors } of healthy) {
    if (failed > 0) throw new Error(`healthy servers, yet: ${errors.join("; ")}`);
  }

  const rows: Row[] = [...context(`${prefix}.healthy`, healthy)];
  for (const variant of plain) {
    rows.push(...context(`${prefix}.healthy.${variant}`, [await measure("none", variant)]));
  }
  for (const fault of ["fail_fast", "slow", "refused"] as const) {
    const name = `${prefix}.${fault}`;
    const off = fault === "slow" ? slow : [await measure(fault, "off")];
    rows.push(row(`${name}.error_ratio`, "", off.map(errorRatio), barOf(fault)));
    if (fault === "slow") {
      const over = slow.map(({ p99 }, i) => p99! / healthy[i]!.p99!);
      rows.push(row(`${name}.share`, "", slow.map(shareOf), MAX_SHARE));
      rows.push(row(`${name}.p99_over_healthy`, "×", over, MAX_P99_RATIO));
      const cold = await measure("slow", "off", 1, 0);
      rows.push(row(`${name}.cold.share`, "", [cold.share]));
    }
    rows.push(...context(name, off));
    const retries = await measure(fault, "retries");
    rows.push(row(`${name}.retries.error_ratio`, "", [errorRatio(retries)], 0));
    rows.push(...context(`${name}.retries`, [retries]));
    for (const variant of plain) {
      const other = await measure(fault, variant);
      rows.push(row(`${name}.${variant}.error_ratio`, "", [errorRatio(other)]));
      if (fault === "slow") rows.push(row(`${name}.${variant}.share`, "", [other.share]));
      rows.push(...context(`${name}.${variant}`, [other]));
    }
  }
  return [...rows, ...throughProxy];
}

async function proxyRows(
  measure: (fault: Fault, variant: Variant, round?: number) => Promise<Result>,
  rounds: number,
): Promise<Row[]> {
  const of = async (fault: Fault, count: number): Promise<Result[]> => {
    const results: Result[] = [];
    for (let round = 1; round <= count; round++) results.push(await measure(fault, "proxy", round));
    return results;
  };
  const rows: Row[] = [...context("tail.proxy.healthy", await of("none", 1))];
  for (const fault of ["fail_fast", "slow", "refused"] as const) {
    const name = `tail.proxy.${fault}`;
    const results = await of(fault, fault === "slow" ? rounds : 1);
    rows.push(row(`${name}.error_ratio`, "", results.map(errorRatio), barOf(fault)));
    if (fault === "slow") rows.push(row(`${name}.share`, "", results.map(shareOf), MAX_SHARE));
    rows.push(...context(name, results));
  }
  return rows;
}

function barOf(fault: Fault): number | null {
  return fault === "fail_fast" ? MAX_FAIL_FAST : fault === "refused" ? 0 : null;
}

function errorRatio({ failed, calls }: Result): number {
  return failed / calls;
}

function shareOf({ share }: Result): number {
  return share;
}

function context(name: string, rounds: readonly Result[]): Row[] {
  const answered = rounds.filter(({ p50 }) => p50 !== null);
  if (answered.length === 0) return [];
  return [
    row(
      `${name}.p50_ms`,
      "ms",
      answered.map(({ p50 }) => p50!),
    ),
    row(
      `${name}.p99_ms`,
      "ms",
      answered.map(({ p99 }) => p99!),
    ),
  ];
}

interface Run {
  readonly protocol: Protocol;
  readonly fault: Fault;
  readonly variant: Variant;
  readonly round: number;
  readonly seconds: number;
  readonly warmCalls: number;
}

async function measured(wanted: Run): Promise<Result> {
  const { protocol, fault, variant, round, seconds, warmCalls } = wanted;
  // The last one is the bad one.
  const servers = await Promise.all(
    Array.from({ length: SERVERS }, (_, i) =>
      Server.start(protocol, i === SERVERS - 1 ? fault : "none", SERVERS * round + i),
    ),
  );
  const folder = mkdtempSync(join(tmpdir(), "inmesh-bench-"));
  let proxy: MeshProxy | undefined;
  try {
    const ports = servers.map(({ port }) => port);
    if (variant === "proxy") proxy = await proxyTo(ports, join(folder, "mesh.json"));
    const load: TailLoad = {
      protocol,
      client: variant === "off" || variant === "retries" ? "inmesh" : variant,
      proxy: proxy && { port: proxy.port("out"), ...SERVICES },
      attempts: variant === "retries" ? 2 : 1,
      // pick_first stays with the first that takes a connection: this is the client that gets the bad one.
      ports: variant === "pick_first" ? ports.toReversed() : ports,
      perSecond: PER_SECOND,
      seconds,
      warmCalls,
    };
    const result = await child<TailRun>("tail.ts", [JSON.stringify(load)]);
    const served: number[] = [];
    for (const server of servers) served.push((await server.served()) - warmCalls);
    if (fault === "refused") served[SERVERS - 1] = 0;
    const sum = served.reduce((a, b) => a + b, 0);
    if (fault !== "refused" && sum < result.calls) {
      throw new Error(`${result.calls} calls, but the servers saw ${sum}`);
    }
    return { ...result, share: served.at(-1)! / sum };
  } finally {
    await proxy?.stop("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
    for (const server of servers) server.stop();
  }
}

const SERVICES: Omit<TailProxy, "port"> = {
  service: "orders",
  alone: Array.from({ length: SERVERS }, (_, place) => `alone-${place}`),
};

function proxyTo(ports: readonly number[], file: string): Promise<MeshProxy> {
  const to = (some: readonly number[]): object => ({
    discovery: { static: some.map((port) => `127.0.0.1:${port}`) },
    retry: { attempts: 1 },
  });
  const alone = SERVICES.alone.map((name, place) => [name, to([ports[place]!])]);
  replace(file, {
    services: { orders: to(ports), ...Object.fromEntries(alone) },
    proxy: { listeners: { out: { listen: "127.0.0.1:0" } } },
  });
  return MeshProxy.start(file);
}

class Server {
  readonly port: number;
  readonly #process: ChildProcess;

  constructor(process: ChildProcess, port: number) {
    this.#process = process;
    this.port = port;
  }

  static async start(protocol: Protocol, fault: Fault, seed: number): Promise<Server> {
    const path = fileURLToPath(new URL("./child/tail-server.ts", import.meta.url));
    const process = fork(path, [protocol, fault, String(seed)], { execArgv: [...FLAGS] });
    const [{ port }] = (await once(process, "message")) as [{ port: number }];
    return new Server(process, port);
  }

  async served(): Promise<number> {
    this.#process.send("served");
    const [{ served }] = (await once(this.#process, "message")) as [{ served: number }];
    return served;
  }

  stop(): void {
    this.#process.disconnect();
  }
}
