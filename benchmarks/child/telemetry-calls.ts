/**
 * Calls of HTTP through the whole pipeline, over a stub that replies at once, in a fresh process: argv is what is
 * measured, the calls per round and the rounds. `off`: nothing; `metrics`; `roots`: metrics, and traces of which each call
 * is a root; `spans` and `traces`: `off` and `roots` again, with each call below a span of the application. An SDK
 * records one root in a hundred. Prints microseconds of CPU time per call, round by round, as JSON.
 */
import { Call } from "@inmesh/core/spi";
import { stubProtocol } from "@inmesh/core/testing";
import { HTTP, HttpRequest } from "@inmesh/http/spi";
import { createMesh } from "inmesh";
import { traceMesh } from "inmesh/traces";
import { trace } from "@opentelemetry/api";
import { threadMs } from "../child.ts";
import { traceSampled } from "./sampled-tracing.ts";

const ENDPOINTS = 10;
const WARM_ROUNDS = 4;

const [kind = "metrics", perRound = "100000", rounds = "5"] = process.argv.slice(2);
const isOff = kind === "off" || kind === "spans";
const calls = Number(perRound);
const endpoints = Array.from({ length: ENDPOINTS }, (_, i) => `10.0.0.${i + 1}:8080`);
const mesh = createMesh({
  env: {},
  config: { services: { orders: { discovery: { static: endpoints } } } },
  ...(isOff && { telemetry: false }),
});
const exported = kind === "off" || kind === "metrics" ? undefined : traceSampled();
if (exported !== undefined && !isOff) traceMesh(mesh);
const tracer = trace.getTracer("application");
const { transport } = stubProtocol(({ attempt, reply }) => {
  attempt.wireVersion = 1;
  reply();
});
const service = mesh.service("orders", { ...HTTP, transport } as unknown as typeof HTTP);

async function makeCall(): Promise<void> {
  const request = new HttpRequest("/orders/1", "GET", undefined, null);
  const reply = await service.current(new Call("orders", request, true, true));
  if (reply.code !== 200) throw new Error(`reply ${reply.code}`);
}

const below = (): Promise<void> =>
  tracer.startActiveSpan("application", async (span) => {
    await makeCall();
    span.end();
  });
const play = kind === "spans" || kind === "traces" ? below : makeCall;

async function make(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await play();
}

const cpuUs: number[] = [];
for (let round = -WARM_ROUNDS; round < Number(rounds); round++) {
  const before = threadMs();
  await make(calls);
  if (round >= 0) cpuUs.push(((threadMs() - before) * 1000) / calls);
}
const made = calls * (Number(rounds) + WARM_ROUNDS);
const counted = mesh
  .metrics()
  .filter(({ name }) => name === "http.client.request.duration")
  .reduce((sum, one) => sum + (one.kind === "histogram" ? one.count : 0), 0);
if (counted !== (isOff ? 0 : made)) throw new Error(`${counted} of ${made} were counted`);
if (exported !== undefined) {
  await exported.flush();
  const spans = { roots: 2, spans: 1, traces: 3 }[kind] ?? 0;
  const share = exported.count / spans / made;
  if (!(share > 0.004 && share < 0.02)) throw new Error(`${share} of the calls were recorded`);
}
process.stdout.write(JSON.stringify(cpuUs));
process.exit();
