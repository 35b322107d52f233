/** What a mesh says about its process. Everything is read with each scrape. */
import { LoopWindow } from "./runtime/loop-window.ts";
import type { Runtime } from "./runtime/runtime.ts";
import {
  BUILD_INFO,
  HEAP_UTILIZATION,
  LOOP_DELAY,
  LOOP_UTILIZATION,
} from "./telemetry/process-instruments.ts";
import type { Telemetry } from "./telemetry/telemetry.ts";
import { VERSION } from "./version.ts";

/** Gives the functions that end them. */
export function processGauges(telemetry: Telemetry, runtime: Runtime): (() => void)[] {
  const build = { version: VERSION, node: process.version, package: "@inmesh/core" };
  return [
    telemetry.gauge(BUILD_INFO, build, () => 1),
    telemetry.gauge(HEAP_UTILIZATION, {}, heapUtilization),
    ...loopGauges(telemetry, runtime),
  ];
}

function heapUtilization(): number {
  const { used_heap_size: used, heap_size_limit: limit } = process
    .getBuiltinModule("node:v8")
    .getHeapStatistics();
  return used / limit;
}

function loopGauges(telemetry: Telemetry, runtime: Runtime): (() => void)[] {
  const window = LoopWindow.of(runtime);
  if (window === undefined) return [];
  return [
    telemetry.gauge(LOOP_DELAY, { quantile: "0.5" }, () => window.facts.medianMs / 1_000),
    telemetry.gauge(LOOP_DELAY, { quantile: "0.99" }, () => window.facts.p99Ms / 1_000),
    telemetry.gauge(LOOP_UTILIZATION, {}, () => window.facts.utilization),
    () => window.end(),
  ];
}
