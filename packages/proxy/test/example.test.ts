/** examples/05-proxy runs as it stands, where Python is present. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";

const root = join(import.meta.dirname, "../../..");
const hasPython = spawnSync("python3", ["--version"]).status === 0;

it.skipIf(!hasPython)(
  "examples/05-proxy: a proxy leaves and a server dies while calls run, and no call fails",
  () => {
    const ran = spawnSync(
      process.execPath,
      ["--no-warnings", "--conditions=inmesh-source", "examples/05-proxy/main.ts"],
      { cwd: root, encoding: "utf8", timeout: 60_000, env: { ...process.env, NODE_OPTIONS: "" } },
    );
    expect(ran.stdout).toContain("120 calls by 2 processes in Python, 0 failed");
    expect(ran.status).toBe(0);
  },
  60_000,
);
