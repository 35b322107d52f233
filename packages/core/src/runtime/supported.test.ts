import { describe, expect, it } from "vitest";
import { createMesh } from "../mesh.ts";
import type { LogLine } from "../log.ts";
import { Recorder } from "../telemetry/recorder.ts";
import { assertSupported, NODE_FLOORS, NODE_FLOORS_AS_OF, runtimeProblem } from "./supported.ts";

describe("P22: a runtime below the security floor", () => {
  it.each([...NODE_FLOORS])("P22: Node %i, around its floor", (line, [minor, patch]) => {
    expect(runtimeProblem(`v${line}.${minor}.${patch}`)).toBeUndefined();
    expect(runtimeProblem(`v${line}.${minor}.${patch + 1}`)).toBeUndefined();
    expect(runtimeProblem(`v${line}.${minor + 1}.0`)).toBeUndefined();
    expect(runtimeProblem(`v${line}.${minor}.${patch - 1}`)).toContain(`${line}.${minor}.${patch}`);
    expect(runtimeProblem(`v${line}.${minor - 1}.99`)).toMatch(/known weaknesses/);
    expect(runtimeProblem(`v${line}.0.0`)).toMatch(/known weaknesses/);
  });

  it("P22: a Node that cannot run inmesh at all is refused by a sentence", () => {
    for (const version of ["v20.20.2", "v22.18.0", "v18.0.0"]) {
      const message = `inmesh needs Node 22.19 or newer, and this is Node ${version}`;
      expect(() => assertSupported(version)).toThrow(message);
    }
    for (const version of ["v22.19.0", "v24.0.0", "v26.10.0"]) assertSupported(version);
  });

  /** Security releases that concern a mesh, one line a round; minor and patch for Node 22, 24, 26. */
  const ROUNDS = [
    ["2026-06-18", "23.0", "17.0", "3.1"],
    ["2026-07-27", "23.2", "18.1", "5.1"],
    ["2026-10-21", "23.4", "22.1", "12.1"],
    ["2026-11-11", "23.5", "22.3", "13.1"],
  ] as const;

  it("P22: the floors are those of the last security releases, and were compared since", () => {
    const floors = [...NODE_FLOORS.values()].map((floor) => floor.join("."));
    const [lastDay, ...last] = ROUNDS.at(-1)!;
    expect(floors).toEqual(last);
    expect(NODE_FLOORS_AS_OF >= lastDay).toBe(true);
    const lines = [...NODE_FLOORS.keys()];
    for (const [day, ...releases] of ROUNDS.slice(0, -1)) {
      for (const [i, release] of releases.entries()) {
        expect(runtimeProblem(`v${lines[i]}.${release}`), day).toMatch(/known weaknesses/);
      }
    }
  });

  it.each(["v20.20.2", "v23.11.0", "v25.9.0", "v18.0.0"])("P22: %s is at its end", (version) => {
    expect(runtimeProblem(version)).toMatch(/no security releases/);
  });

  it.each(["v27.0.0", "v28.1.0"])("P22: %s is newer than the table", (version) => {
    expect(runtimeProblem(version)).toBeUndefined();
  });

  it("P22: a mesh says so in its log and in a metric", async () => {
    const log: LogLine[] = [];
    const telemetry = new Recorder();
    const mesh = createMesh({ env: {}, log: (line) => log.push(line), telemetry });
    const problem = runtimeProblem(process.version);
    const said = problem === undefined ? [] : [{ event: "runtime.unsupported", message: problem }];
    expect(log).toMatchObject(said);
    const series = telemetry.read().find(({ name }) => name === "inmesh.runtime.supported");
    expect(series).toMatchObject({ value: problem === undefined ? 1 : 0 });
    await mesh.close(0);
  });
});
