/** examples/02-laptop runs as it stands: two processes that know each other's names and nothing else. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";

const ROOT = join(import.meta.dirname, "../../..");

it("a service that was started first finds the other one, and another process of it", async () => {
  const dir = mkdtempSync(join(tmpdir(), "inmesh-laptop-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  let out = "";
  const start = (file: string, ...args: readonly string[]): ChildProcess => {
    const path = join("examples/02-laptop", file);
    const flags = ["--no-warnings", "--conditions=inmesh-source", path, ...args];
    const child = spawn(process.execPath, flags, {
      cwd: ROOT,
      env: { ...process.env, INMESH_REGISTRY: dir },
      stdio: ["ignore", "pipe", "pipe"],
    });
    child.stdout!.on("data", (chunk: Buffer) => (out += chunk.toString()));
    onTestFinished(() => void child.kill("SIGKILL"));
    return child;
  };
  const says = (wanted: RegExp): Promise<void> =>
    vi.waitFor(() => expect(out).toMatch(wanted), { timeout: 20_000 });
  start("shop.ts");
  await says(
    /^order 1: orders: discovery found no endpoint for orders: no process of this machine/,
  );
  const first = start("orders.ts");
  await says(new RegExp(`^order \\d+, by process ${first.pid}$`, "m"));
  const second = start("orders.ts");
  await says(new RegExp(`^order \\d+, by process ${second.pid}$`, "m"));
  first.kill("SIGTERM");
  expect(await once(first, "exit")).toEqual([0, null]);
  const until = out.length;
  await vi.waitFor(
    () => expect(out.slice(until)).toMatch(new RegExp(`by process ${second.pid}\n`)),
    { timeout: 20_000 },
  );
  expect(out.slice(until)).not.toContain(`process ${first.pid}`);
});
