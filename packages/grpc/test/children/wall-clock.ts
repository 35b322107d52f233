/**
 * L8: calls in all their kinds while this process's wall clock jumps; prints how long things took by
 * the clock that does not. The servers, of l-lifecycle.test.ts, have a clock of their own.
 */
import { status as Status, type ServiceError } from "@grpc/grpc-js";
import { createMesh } from "@inmesh/core";
import { meshGrpc } from "@inmesh/grpc";
import { get } from "../support/bench.ts";
import { Orders } from "../support/orders.ts";

const [flaky = "", steady = ""] = process.argv.slice(2);
const clock = (): number => Number(process.hrtime.bigint() / 1_000n) / 1_000;
const looks = Array.from({ length: 20 }, () => Date.now());
const spreadMs = Math.max(...looks) - Math.min(...looks);

const one = { discovery: { static: [flaky] }, routes: [{ name: "all", idempotent: true }] };
const mesh = createMesh({
  env: {},
  config: {
    services: {
      one,
      quick: { ...one, timeouts: { requestMs: 200 } },
      two: {
        discovery: { static: [flaky, steady] },
        balancer: { kind: "round-robin" },
        breaker: { minOpenMs: 200, maxOpenMs: 400 },
      },
    },
  },
});
const clientOf = (name: string) => new Orders(...meshGrpc(name, { mesh }));
const client = clientOf("one");
const two = clientOf("two");

async function timed(id: string, by = client): Promise<{ end: string; tookMs: number }> {
  const startedAt = clock();
  const end = await get(by, { id }).then(
    () => "ok",
    (error: ServiceError) => Status[error.code] ?? String(error),
  );
  return { end, tookMs: clock() - startedAt };
}

const plain = [];
for (let i = 0; i < 30; i++) plain.push((await timed("plain")).end);
const deadline = await timed("hang", clientOf("quick"));
const backoff = await timed("fail first");
const pushback = await timed("push back first");

const isOpen = (): boolean =>
  mesh
    .snapshot()
    .services.find(({ name }) => name === "two")!
    .endpoints.find(({ address }) => address === flaky)?.breaker.state === "open";
async function callUntilOpen(open: boolean): Promise<number> {
  const startedAt = clock();
  while (isOpen() !== open && clock() - startedAt < 15_000) {
    await timed("plain", two);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  return clock() - startedAt;
}
await timed("go down");
await callUntilOpen(true);
const opened = isOpen();
await timed("come up");
const openMs = await callUntilOpen(false);
const healing = !isOpen();

const budgets = mesh.snapshot().services.map(({ retryBudget }) => retryBudget.balance);
const durations: number[] = [];
for (const series of mesh.metrics()) {
  if (!series.name.endsWith(".duration") || !("sum" in series)) continue;
  durations.push(Number(series.sum) / Math.max(1, Number(series.count)));
}
const closingAt = clock();
await mesh.close(1_000);
const closedMs = clock() - closingAt;
process.stdout.write(
  JSON.stringify({
    spreadMs,
    plain: [...new Set(plain)],
    deadline,
    backoff,
    pushback,
    opened,
    healing,
    openMs,
    budgets,
    durations,
    closedMs,
  }),
);
