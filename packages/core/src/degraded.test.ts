/** A private member that is missing is visible, once, in log, snapshot and metrics. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, describe, expect, test } from "vitest";
import { Degraded } from "./degraded.ts";
import type { LogLine } from "./log.ts";
import { createMesh, type Mesh } from "./mesh.ts";

/** Then this process finds none of them, which the last test plays in processes of its own. */
const PUBLIC_ONLY: boolean = process.env["INMESH_PUBLIC_ONLY"] === "1";
const THERE = { name: "node Test.there", loss: "nothing is lost" };
const GONE = { name: "node Test.gone", loss: "tests are slower" };
const LATER = { name: "node Test.later", loss: "tests are later" };
const line = "node Test.gone is missing: without it tests are slower";

describe("a private member that is missing is visible", () => {
  const meshes: Mesh[] = [];
  const meshWithLog = (): { mesh: Mesh; log: LogLine[] } => {
    const log: LogLine[] = [];
    const mesh = createMesh({ env: {}, log: (one) => log.push(one) });
    meshes.push(mesh);
    return { mesh, log };
  };
  const degraded = (log: LogLine[]): string[] =>
    log.filter(({ event }) => event === "runtime.degraded").map(({ message }) => message);

  afterEach(async () => {
    await Promise.all(meshes.splice(0).map((mesh) => mesh.close(0)));
  });

  test("in the snapshot of its owner and of each mesh, and once in each log", () => {
    const before = meshWithLog();
    const owner = new Degraded();
    if (!PUBLIC_ONLY) expect(owner.allows(THERE, true)).toBe(true);
    expect(owner.list).toEqual([]);
    expect(owner.allows(GONE, false)).toBe(false);
    expect(owner.allows(GONE, false)).toBe(false);
    const other = new Degraded();
    expect(other.list).toEqual([]);
    expect(other.allows(GONE, false)).toBe(false);
    const after = meshWithLog();
    expect([owner.list, other.list]).toEqual([[line], [line]]);
    expect(before.mesh.snapshot().degraded).toEqual([line]);
    expect([degraded(before.log), degraded(after.log)]).toEqual([[line], [line]]);
  });

  test("a closed mesh gets no further reports", async () => {
    const { mesh, log } = meshWithLog();
    await mesh.close(0);
    new Degraded().allows(LATER, false);
    expect(degraded(log)).not.toContainEqual(expect.stringContaining(LATER.name));
  });

  test("INMESH_PUBLIC_ONLY=1 hides those that are there", async () => {
    const module = fileURLToPath(new URL("degraded.ts", import.meta.url));
    const script = `import { Degraded } from ${JSON.stringify(module)};
      process.stdout.write(String(new Degraded().allows({ name: "a", loss: "b" }, true)));`;
    const seen = await Promise.all(
      ["1", "0"].map((value) =>
        promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], {
          env: { ...process.env, INMESH_PUBLIC_ONLY: value },
        }),
      ),
    );
    expect(seen.map(({ stdout }) => stdout)).toEqual(["false", "true"]);
  });
});
