/**
 * The client of the configuration check, forked with the path of the file and the ports. It calls
 * without a pause while the file changes and while it calls `mesh.update` itself, and samples the
 * heap. Messages: `start` begins, `result` gives what there is so far, `calm` ends changes and calls,
 * waits until connections and timers are gone, and gives the handles held.
 */
import { readdirSync } from "node:fs";
import { createMesh, meshClient } from "inmesh";
import { settledHeap } from "../child.ts";
import type { MeshInput } from "inmesh";

export interface ConfigResult {
  readonly calls: number;
  readonly failed: number;
  readonly errors: readonly string[];
  readonly slowestMs: number;
  /** Seconds since the start, and kilobytes. */
  readonly heap: readonly { readonly at: number; readonly kb: number }[];
  readonly applied: { readonly code: number; readonly file: number; readonly refused: number };
}

const UPDATES_PER_SECOND = 100;
/** A machine that was busy makes up for what it missed, a few at a time. */
const MAX_AT_ONCE = 5;
const BURST_EVERY_MS = 10;
const CALLS_PER_BURST = 5;
const SAMPLE_EVERY_MS = 1_000;
const QUIET_MS = 2;
/** Idle connections are closed after four seconds, and what discovery dropped is. */
const CALM_MS = 6_000;

const [file = "", ports = "[]"] = process.argv.slice(2);
const addresses = (JSON.parse(ports) as number[]).map((port) => `127.0.0.1:${port}`);
const mesh = createMesh({ configFile: file, env: {} });
const orders = meshClient("orders", { mesh });
const pinned = meshClient(`http://${addresses[0]}`, { mesh });

let calls = 0;
let failed = 0;
const state = { inFlight: 0, sampling: false };
let slowestMs = 0;
let updates = 0;
let startedAt = 0;
const errors = new Set<string>();
const heap: { at: number; kb: number }[] = [];
let timers: NodeJS.Timeout[] = [];

async function call(n: number): Promise<void> {
  calls++;
  state.inFlight++;
  const before = performance.now();
  try {
    const path = n % 10 === 0 ? "/slow" : "/v1/orders";
    const client = n % 7 === 0 ? pinned : orders;
    const init = n % 3 === 0 ? { method: "POST", body: "x".repeat(2_000) } : {};
    const reply = await client.fetch(path, init);
    const text = await reply.text();
    if (reply.status !== 200 || text !== "ok") throw new Error(`status ${reply.status}: ${text}`);
  } catch (error) {
    failed++;
    if (errors.size < 10) errors.add(error instanceof Error ? error.message : String(error));
  }
  state.inFlight--;
  slowestMs = Math.max(slowestMs, performance.now() - before);
}

/** Every part of a service in turn; what the file says lies below. */
function fromCode(n: number): MeshInput {
  const kinds = ["peak-ewma", "least-request", "round-robin", "random"] as const;
  const routes = [
    {
      name: "slow",
      matches: [{ path: { value: "/slow" } }],
      timeouts: { requestMs: 5_000 + (n % 16) },
    },
    { name: `v${n % 5}`, matches: [{ path: { value: "/v1" } }], backendRefs: [{ name: "other" }] },
  ];
  return {
    defaults: { timeouts: { bodyIdleMs: 10_000 + (n % 2) } },
    services: {
      orders: {
        balancer: { kind: kinds[n % 4]!, slowStartMs: 0 },
        retryBudget: { minPerSecond: 1 + (n % 20 === 0 ? 1 : 0) },
        limits: { maxConnectionsPerEndpoint: n % 25 === 0 ? 33 : 32 },
        routes: routes.slice(0, n % 3),
      },
      other: { discovery: { static: addresses.filter((_, i) => i !== n % addresses.length) } },
    },
  };
}

function every(ms: number, run: () => void): void {
  timers.push(setInterval(run, ms));
}

function start(): void {
  slowestMs = 0;
  startedAt = performance.now();
  let n = 0;
  every(BURST_EVERY_MS, () => {
    if (state.sampling) return;
    for (let i = 0; i < CALLS_PER_BURST; i++) void call(n++);
  });
  const from = updates;
  every(1000 / UPDATES_PER_SECOND, () => {
    const due = (UPDATES_PER_SECOND * (performance.now() - startedAt)) / 1000;
    for (let i = 0; i < MAX_AT_ONCE && updates - from < due; i++) mesh.update(fromCode(updates++));
  });
  every(SAMPLE_EVERY_MS, () => void sample());
}

/** Between calls, because a call in flight weighs more than what is looked for. */
async function sample(): Promise<void> {
  if (state.sampling) return;
  state.sampling = true;
  while (state.inFlight > 0) await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
  heap.push({ at: (performance.now() - startedAt) / 1000, kb: settledHeap() / 1024 });
  state.sampling = false;
}

async function calm(): Promise<number> {
  for (const timer of timers) clearInterval(timer);
  timers = [];
  mesh.update({});
  await new Promise((resolve) => setTimeout(resolve, CALM_MS));
  return process.getActiveResourcesInfo().length + readdirSync("/proc/self/fd").length;
}

function counted(source: string, outcome: string): number {
  const one = mesh
    .metrics()
    .find(
      ({ name, labels }) =>
        name === "inmesh.config.updates" &&
        labels["source"] === source &&
        labels["result"] === outcome,
    );
  return one !== undefined && "value" in one ? one.value : 0;
}

function result(): ConfigResult {
  const applied = {
    code: counted("code", "applied"),
    file: counted("file", "applied"),
    refused: counted("file", "refused"),
  };
  return { calls, failed, errors: [...errors], slowestMs, heap, applied };
}

process.on("message", (message) => {
  if (message === "start") start();
  else if (message === "result") process.send!(result());
  else void calm().then((handles) => process.send!(handles));
});
process.once("disconnect", () => process.exit());
process.send!("ready");
