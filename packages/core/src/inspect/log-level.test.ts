/** The level of the log in virtual time: it ends by itself, and what is written meanwhile is bounded. */
import { describe, expect, it, onTestFinished } from "vitest";
import type { LogLine } from "../log.ts";
import { Mesh } from "../mesh.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { LogLevelControl, MAX_LOG_LEVEL_MS } from "./log-level.ts";

function started(): { mesh: Mesh; level: LogLevelControl; lines: LogLine[]; runtime: SimRuntime } {
  const runtime = new SimRuntime(1);
  const lines: LogLine[] = [];
  const mesh = new Mesh({ env: {}, runtime, log: (line) => void lines.push(line) });
  onTestFinished(() => mesh.close(0));
  return { mesh, level: new LogLevelControl(mesh), lines, runtime };
}

const levels: readonly LogLine["level"][] = ["debug", "info", "warn"];

/** Which levels a line gets through at. */
function passes({ mesh, lines }: ReturnType<typeof started>): string[] {
  lines.length = 0;
  for (const level of levels) mesh.log({ level, event: "config.applied", message: level });
  return lines.map(({ level }) => level);
}

describe("the level of the log", () => {
  it("is info without anything else, and lets through what is at or above it", () => {
    const all = started();
    expect(passes(all)).toEqual(["info", "warn"]);
    all.level.set({ level: "debug", forMs: 1_000 });
    expect(passes(all)).toEqual(["debug", "info", "warn"]);
    all.level.set({ level: "warn", forMs: 1_000 });
    expect(passes(all)).toEqual(["warn"]);
    all.level.clear();
    expect(passes(all)).toEqual(["info", "warn"]);
  });

  it("ends by itself, once, and says so at every level", async () => {
    const all = started();
    all.level.set({ level: "warn", forMs: 60_000 });
    await all.runtime.advance(59_999);
    expect(all.level.state).toEqual({ level: "warn", endsInMs: 1 });
    all.lines.length = 0;
    await all.runtime.advance(1);
    expect(all.level.state).toEqual({ level: "info", endsInMs: undefined });
    expect(all.lines).toMatchObject([{ level: "info", event: "admin.changed" }]);
    await all.runtime.advance(MAX_LOG_LEVEL_MS);
    expect(all.lines).toHaveLength(1);
  });

  it("asked for again lasts as long as it was asked for last", async () => {
    const all = started();
    all.level.set({ level: "debug", forMs: 60_000 });
    await all.runtime.advance(30_000);
    expect(all.level.undo).toEqual({
      method: "PUT",
      path: "/api/v1/log-level",
      body: { level: "debug", forMs: 30_000 },
    });
    all.level.set({ level: "warn", forMs: 5_000 });
    await all.runtime.advance(5_000);
    expect(all.level.state.level).toBe("info");
    await all.runtime.advance(60_000);
    expect(all.lines.filter(({ event }) => event === "admin.changed")).toHaveLength(1);
    expect(all.level.undo.method).toBe("DELETE");
  });

  it("watches calls for debug alone, by one observer", () => {
    const { mesh, level } = started();
    const attached = (): number => mesh.observers.snapshot().attached;
    level.set({ level: "debug", forMs: 1_000 });
    level.set({ level: "debug", forMs: 2_000 });
    expect(attached()).toBe(1);
    level.set({ level: "info", forMs: 1_000 });
    expect(attached()).toBe(0);
  });
});
