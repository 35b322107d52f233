/**
 * What a caller sees when one of three servers is bad. All of them are real processes; the servers
 * of each run are fresh, and clients run one after the other. On such runs linkerd2-proxy fails
 * 0.67 of the requests beside a server that answers 500 at once and 0.67 beside one that refuses
 * connections, Envoy 0.49 and 0.31; beside a slow one their p99 is 1.15 and 11.6 times the healthy.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { child } from "./child.ts";
import type { TailLoad, TailRun } from "./child/tail.ts";
import type { Fault } from "./child/tail-server.ts";
import { row, type Options, type Row } from "./report.ts";

export const describe = "three servers, one bad: failed calls, share and p99, beside round robin";

const SERVERS = 3;
const PER_SECOND = 200;
const MAX_SHARE = 0.005;
const MAX_P99_RATIO = 1.15;
const MAX_FAIL_FAST = 0.01;

type Variant = "off" | "retries" | "round_robin";
type Result = TailRun & { readonly share: number };

export async function run({ quick, progress }: Options): Promise<Row[]> {
  const seconds = quick ? 3 : 12;
  const measure = async (fault: Fault, variant: Variant): Promise<Result> => {
    const result = await measured(fault, variant, seconds);
    const { calls, failed, p50, p99, share, errors } = result;
    const name = fault === "none" ? "healthy" : fault;
    progress(
      `tail: ${name}, ${variant}: ${failed} of ${calls} failed, p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, share of the third ${share.toFixed(4)}` +
        (errors.length === 0 ? "" : ` (${errors[0]})`),
    );
    return result;
  };

  const healthy = await measure("none", "off");
  const rows: Row[] = [...context("tail.healthy", healthy)];
  if (healthy.failed > 0) throw new Error(`healthy servers, yet: ${healthy.errors.join("; ")}`);
  rows.push(...context("tail.healthy.round_robin", await measure("none", "round_robin")));

  for (const fault of ["fail_fast", "slow", "refused"] as const) {
    const name = `tail.${fault}`;
    const off = await measure(fault, "off");
    rows.push(row(`${name}.error_ratio`, "", [errorRatio(off)], barOf(fault)));
    if (fault === "slow") {
      rows.push(row(`${name}.share`, "", [off.share], MAX_SHARE));
      rows.push(row(`${name}.p99_over_healthy`, "×", [off.p99 / healthy.p99], MAX_P99_RATIO));
    }
    rows.push(...context(name, off));
    const retries = await measure(fault, "retries");
    rows.push(row(`${name}.retries.error_ratio`, "", [errorRatio(retries)], 0));
    rows.push(...context(`${name}.retries`, retries));
    const robin = await measure(fault, "round_robin");
    rows.push(row(`${name}.round_robin.error_ratio`, "", [errorRatio(robin)]));
    if (fault === "slow") rows.push(row(`${name}.round_robin.share`, "", [robin.share]));
    rows.push(...context(`${name}.round_robin`, robin));
  }
  return rows;
}

function barOf(fault: Fault): number | null {
  return fault === "fail_fast" ? MAX_FAIL_FAST : fault === "refused" ? 0 : null;
}

function errorRatio({ failed, calls }: Result): number {
  return failed / calls;
}

function context(name: string, { p50, p99 }: Result): Row[] {
  return [row(`${name}.p50_ms`, "ms", [p50]), row(`${name}.p99_ms`, "ms", [p99])];
}

async function measured(fault: Fault, variant: Variant, seconds: number): Promise<Result> {
  const servers: Server[] = [];
  try {
    for (let i = 0; i < SERVERS; i++) {
      // The last one is the bad one.
      servers.push(await Server.start(i === SERVERS - 1 ? fault : "none", i + 1));
    }
    const load: TailLoad = {
      client: variant === "round_robin" ? "round_robin" : "inmesh",
      attempts: variant === "retries" ? 2 : 1,
      ports: servers.map(({ port }) => port),
      perSecond: PER_SECOND,
      seconds,
    };
    const result = await child<TailRun>("tail.ts", [JSON.stringify(load)]);
    const served: number[] = [];
    for (const server of servers) served.push(await server.served());
    const sum = served.reduce((a, b) => a + b, 0);
    if (fault !== "refused" && sum < result.calls) {
      throw new Error(`${result.calls} calls, but the servers saw ${sum}`);
    }
    return { ...result, share: served.at(-1)! / sum };
  } finally {
    for (const server of servers) server.stop();
  }
}

class Server {
  readonly port: number;
  readonly #process: ChildProcess;

  constructor(process: ChildProcess, port: number) {
    this.#process = process;
    this.port = port;
  }

  static async start(fault: Fault, seed: number): Promise<Server> {
    const path = fileURLToPath(new URL("./child/tail-server.ts", import.meta.url));
    const execArgv = ["--no-warnings"];
    const process = fork(path, [fault, String(seed)], { execArgv });
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
