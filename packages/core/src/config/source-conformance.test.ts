/** The built-in sources, and one from outside, keep the contract of source.ts. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "vitest";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { type SourceAdapter, sourceConformance } from "../testing/source-conformance.ts";
import type { MeshInput } from "./input.ts";
import type { ConfigSource } from "./source.ts";
import { fileSource } from "./sources/config-file.ts";
import { environmentSource, readEnvConfig } from "./sources/env.ts";

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Virtual time goes on while the disk works. */
function clock(runtime: SimRuntime) {
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 50; i++) {
      await runtime.advance(10);
      await pause(1);
    }
  };
  const until = async (condition: () => boolean): Promise<void> => {
    const end = performance.now() + 10_000;
    while (!condition()) {
      if (performance.now() > end) throw new Error("it was never reported");
      await runtime.advance(10);
      await pause(1);
    }
  };
  return { runtime, settle, until };
}

const environment: SourceAdapter = {
  changes: false,
  open({ services = {} }) {
    const env = Object.entries(services).map(([name, { url }]) => [
      `INMESH_SERVICE_${name.toUpperCase()}`,
      url,
    ]);
    return Promise.resolve({
      source: environmentSource(readEnvConfig(Object.fromEntries(env)))!,
      say() {},
      ...clock(new SimRuntime(1)),
      close: () => Promise.resolve(),
    });
  },
};

/** `snapshot`: with the last good one on disk. */
const file = (snapshot: boolean): SourceAdapter => ({
  changes: true,
  open(known) {
    const folder = mkdtempSync(join(tmpdir(), "inmesh-conformance-"));
    const path = join(folder, "mesh.json");
    const say = (next: MeshInput | undefined): void => {
      writeFileSync(`${path}.new`, next === undefined ? "{" : JSON.stringify(next));
      renameSync(`${path}.new`, path);
    };
    say(known);
    return Promise.resolve({
      source: fileSource(path, snapshot ? join(folder, "last-good.json") : undefined),
      say,
      ...clock(new SimRuntime(1)),
      close: () => Promise.resolve(rmSync(folder, { recursive: true })),
    });
  },
});

/** It asks something every 20 ms, as one of a package would. */
const outside: SourceAdapter = {
  changes: true,
  open(first) {
    let known: MeshInput | undefined = first;
    const source: ConfigSource = {
      name: "control",
      rank: "control-plane",
      watch(sink, { runtime }) {
        const ask = (): void => {
          if (known === undefined) sink.failed(new Error("it does not answer"));
          else sink.replace({ input: known, version: "v1" });
          timer = runtime.after(20, ask, undefined);
        };
        let timer = runtime.after(0, ask, undefined);
        return { stop: () => timer.cancel() };
      },
    };
    return Promise.resolve({
      source,
      say: (next) => void (known = next),
      ...clock(new SimRuntime(1)),
      close: () => Promise.resolve(),
    });
  },
};

describe.each([
  ["environment", environment],
  ["file", file(false)],
  ["file with snapshot", file(true)],
  ["outside", outside],
])("source conformance: %s", (_name, adapter) => {
  for (const { title, run } of sourceConformance(adapter)) it(title, run);
});
