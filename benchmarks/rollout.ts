/**
 * Rolling updates of a Deployment under load: what fails, and whether any POST arrives twice. The control plane is a
 * real one (`npm run peers:k8s`), a small program plays the kubelet, and the application knows the name of the
 * Service alone. `--quick` runs on the API server of the tests. Also `npm run check:rollout`.
 */
import { duplicatesOf } from "./fleet.ts";
import { row, type Options, type Row } from "./report.ts";
import { Record } from "./rollout/pod.ts";
import { rollQuickly } from "./rollout/quick.ts";
import { rollReally } from "./rollout/really.ts";

export const describe = "20 rollouts of a Deployment under load: failed calls, double POSTs";

const ROUNDS = 20;
const QUICK_ROUNDS = 2;
const REPLICAS = 3;
const PER_SECOND = 1_000;
const QUICK_PER_SECOND = 300;

export async function run({ quick, progress }: Options): Promise<Row[]> {
  const rounds = quick ? QUICK_ROUNDS : ROUNDS;
  const perSecond = quick ? QUICK_PER_SECOND : PER_SECOND;
  const record = new Record();
  const startedAt = performance.now();
  const roll = quick ? rollQuickly : rollReally;
  const result = await roll({ rounds, replicas: REPLICAS, perSecond, progress }, record);
  const tookS = (performance.now() - startedAt) / 1_000;
  const { calls, failed, slowestMs, errors, events, source } = result;
  const duplicates = duplicatesOf(record.seen);
  progress(
    `rollout: ${failed} of ${calls} calls failed, ${duplicates} double POSTs, slowest ${slowestMs.toFixed(0)} ms, ${record.started} pods`,
  );
  for (const error of errors) progress(`  ${error}`);
  for (const [event, count] of Object.entries(events)) progress(`  ${count} × ${event} in the log`);
  if (source.some((one) => one !== "kubernetes")) throw new Error("not all came from slices");
  const fallbacks = events["discovery.fallback"] ?? 0;
  return [
    row("rollout.failed", "{call}", [failed], 0),
    row("rollout.duplicate_posts", "{call}", [duplicates], 0),
    row("rollout.killed_pods", "{pod}", [record.killed + record.crashed], 0),
    row("rollout.dns_fallbacks", "{fallback}", [fallbacks], 0),
    row("rollout.calls", "{call}", [calls]),
    row("rollout.slowest_ms", "ms", [slowestMs]),
    row("rollout.pods", "{pod}", [record.started]),
    row("rollout.slowest_drain_ms", "ms", [record.slowestEndMs]),
    row("rollout.seconds", "s", [tookS]),
  ];
}
