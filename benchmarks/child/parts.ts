/** The parts of a call in one fresh process, in interleaved rounds. argv: `quick` or nothing. */
import { Attempt, Call, NodeRuntime, Recorder } from "@inmesh/core/spi";
import { StubRequest } from "@inmesh/core/testing";
import { ActiveCalls } from "../../packages/core/src/active-calls.ts";
import { RetryBudget } from "../../packages/core/src/retry/budget.ts";
import { compileTable } from "../../packages/core/src/route/table.ts";
import { RouteRecord } from "../../packages/core/src/telemetry/record.ts";
import type { RouteConfig } from "../../packages/core/src/config/types.ts";
import { timed } from "../child.ts";
import { quantile } from "../report.ts";
import { attemptOf, busyCluster, infoOf } from "./cluster.ts";

export type PartsRun = Record<string, number[]>;

const quick = process.argv[2] === "quick";
const ROUNDS = quick ? 5 : 25;
const LOOP = quick ? 5_000 : 100_000;
const UPDATES = quick ? 2 : 15;
const SIZES = [10, 1_000, 10_000];
const results: PartsRun = {};
/** What loops compute goes here, so that no compiler can drop it. */
let sink = 0;

function keep(name: string, value: number): void {
  (results[name] ??= []).push(value);
}

const clusters: (Awaited<ReturnType<typeof busyCluster>> & { readonly size: number })[] = [];
for (const size of SIZES) clusters.push({ size, ...(await busyCluster(size)) });
/** The caller stands in one of three zones, which keeps its calls. */
const zoned = { size: 1_000, ...(await busyCluster(1_000, true, 3)) };

function pick({ backend, runtime }: (typeof clusters)[number]): number {
  const attempt = attemptOf();
  const { picker } = backend;
  const now = runtime.now();
  return timed(LOOP, (count) => {
    for (let i = 0; i < count; i++) if (picker.pick(attempt, now + i * 1e-3) === undefined) sink++;
  });
}

/** Everything that hears how an attempt and its call ended, without the call's own objects. */
function record({ backend, runtime }: (typeof clusters)[number]): number {
  const labels = { service: "orders", route: "default", protocol: "stub" };
  const active = new ActiveCalls();
  const route = new RouteRecord(new Recorder(), labels, active, runtime);
  const endpoints = [...backend.cluster.endpoints.values()];
  const batch = 1_000;
  const spent: number[] = [];
  for (let done = 0; done < LOOP; done += batch) {
    const attempts: Attempt<StubRequest>[] = [];
    for (let i = 0; i < batch; i++) {
      const attempt = attemptOf();
      const call = attempt.call as Call;
      call.startedAt = runtime.now();
      call.recorder = route;
      active.add(call);
      attempt.recorder = route;
      attempt.delivered = true;
      attempt.code = 200;
      backend.cluster.begin(attempt, endpoints[i % endpoints.length]!, call.startedAt);
      attempts.push(attempt);
    }
    const before = performance.now();
    for (const attempt of attempts) attempt.settle("success");
    spent.push(((performance.now() - before) * 1e6) / batch);
  }
  return quantile(spent, 0.5);
}

const table = compileTable(
  Array.from({ length: 10 }, (_, i) => ({
    config: {
      name: `route-${i}`,
      matches: [{ path: { type: "PathPrefix", value: `/api/v${i}` }, method: "GET" }],
    } as unknown as RouteConfig,
    value: i,
  })),
  -1,
);
const requests = [3, 9, 42].map((i) => new StubRequest(`/api/v${i}/orders/17`));

function match(): number {
  return timed(LOOP, (count) => {
    for (let i = 0; i < count; i++) sink += table.match(requests[i % 3]!);
  });
}

const runtime = new NodeRuntime();
const budget = new RetryBudget({ ratio: 0.2, minPerSecond: 1, windowMs: 10_000 }, runtime);

function deposit(): number {
  const now = runtime.now();
  return timed(LOOP, (count) => {
    for (let i = 0; i < count; i++) budget.deposit(now + i * 1e-3);
  });
}

function nothing(): void {}

function laneTimer(): number {
  return timed(LOOP, (count) => {
    for (let i = 0; i < count; i++) runtime.after(15_000, nothing, undefined).cancel();
  });
}

function nodeTimer(): number {
  return timed(LOOP, (count) => {
    for (let i = 0; i < count; i++) clearTimeout(setTimeout(nothing, 15_000));
  });
}

/** One of 10,000 endpoints gives way to another: the longest time the event loop stands still. */
async function update(round: number, how: "change" | "replace"): Promise<void> {
  const { backend, infos } = clusters.at(-1)!;
  // Not by the sink: it would gather what comes within 100 ms.
  const { cluster } = backend;
  const leaving = infos[round * 7]!;
  const coming = infoOf(20_000 + 2 * round + (how === "change" ? 0 : 1));
  infos[round * 7] = coming;
  const next = [...infos];
  const wall = performance.now();
  const done = how === "change" ? cluster.change([coming], [leaving]) : cluster.replace(next);
  // The first pick after it pays for whatever the update left to be done.
  sink += backend.picker.pick(attemptOf(), runtime.now())!.weight;
  let longest = performance.now() - wall;
  const pending = new Set(done === undefined ? [] : [done]);
  void done?.then(() => pending.clear());
  while (pending.size > 0) {
    const before = performance.now();
    await new Promise((resolve) => void setImmediate(resolve));
    longest = Math.max(longest, performance.now() - before);
  }
  keep(`update.${how}`, longest * 1000);
  if (backend.cluster.endpoints.size !== infos.length) throw new Error("update: wrong size");
}

for (let round = -5; round < ROUNDS; round++) {
  if (round === 0) for (const name of Object.keys(results)) delete results[name];
  for (const cluster of clusters) keep(`pick.${cluster.size}`, pick(cluster));
  keep("pick.zones", pick(zoned));
  for (const cluster of clusters) keep(`record.${cluster.size}`, record(cluster));
  keep("match", match());
  keep("budget", deposit());
  keep("timer", laneTimer());
  keep("timer.node", nodeTimer());
  // Timers that were cleared leave Node's lists at its next turn.
  await new Promise((resolve) => void setImmediate(resolve));
}
for (let round = 0; round < UPDATES; round++) {
  await update(2 * round, "change");
  await update(2 * round + 1, "replace");
}
if (Number.isNaN(sink)) throw new Error("nothing was computed");
process.stdout.write(JSON.stringify(results), () => process.exit());
