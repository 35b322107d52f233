/** The program of docs/guides/graceful-shutdown.md gets a second signal while it drains, or one before it listens. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";

const root: string = join(import.meta.dirname, "../../..");
const guide: string = readFileSync(join(root, "docs/guides/graceful-shutdown.md"), "utf8");
const children: ChildProcess[] = [];

afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

/** The guide's server as it is printed, but for how long its slow request takes, and for what `change` does. */
async function startGuide(
  slowMs: number,
  change: (program: string) => string = (program) => program,
): Promise<{ child: ChildProcess; url: string }> {
  const [, block = ""] = /^```ts\n([^]*?)^```$/m.exec(guide) ?? [];
  const slowed = block.replace("? 300 : 1", `? ${slowMs} : 1`);
  expect(slowed).not.toBe(block);
  const program = change(slowed);
  const folder = join(root, ".tmp");
  const file = join(folder, `second-signal-${process.pid}-${slowMs}.ts`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(file, `${program}\nvoid createMesh; void meshClient; console.log(port);\n`);
  const child = spawn(process.execPath, ["--conditions=inmesh-source", file], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  const [port] = (await once(child.stdout!, "data")) as [Buffer];
  rmSync(file);
  return { child, url: `http://127.0.0.1:${port.toString().trim()}` };
}

/** Sends the signal, and waits until the server has begun to drain. */
async function firstSignal(
  child: ChildProcess,
  url: string,
  signal: NodeJS.Signals,
): Promise<void> {
  child.kill(signal);
  while ((await fetch(`${url}/readyz`)).status === 200);
}

describe("the guide's program, on a second signal", () => {
  it.each([
    ["SIGTERM", "SIGTERM"],
    ["SIGTERM", "SIGINT"],
    ["SIGINT", "SIGINT"],
  ] as const)("L2 LS: %s, then %s: a request in progress has its reply", async (first, second) => {
    const { child, url } = await startGuide(1_000);
    const exit = once(child, "exit");
    const slow = fetch(`${url}/slow`).then((reply) => reply.text());
    await fetch(url);
    await firstSignal(child, url, first);
    child.kill(second);
    expect(await slow).toBe("ok");
    expect(await exit).toEqual([0, null]);
  });

  it("L2 LS: before it listens, a signal ends it at once", async () => {
    const line = "const { port } = await server.listen(";
    const { child } = await startGuide(1_000, (program) => {
      expect(program).toContain(line);
      return program.replace(line, `console.log(0); await sleep(600_000);\n${line}`);
    });
    const exit = once(child, "exit");
    child.kill("SIGTERM");
    expect(await exit).toEqual([null, "SIGTERM"]);
  });

  it("L2 LS: a hung request is cut off after the short grace, and the process ends", async () => {
    const { child, url } = await startGuide(600_000);
    const exit = once(child, "exit");
    const slow = fetch(`${url}/slow`).then(
      () => "answered",
      () => "cut",
    );
    await fetch(url);
    await firstSignal(child, url, "SIGTERM");
    const startedAt = performance.now();
    child.kill("SIGTERM");
    expect(await slow).toBe("cut");
    const tookMs = performance.now() - startedAt;
    expect(tookMs).toBeGreaterThan(1_500);
    expect(tookMs).toBeLessThan(10_000); // and not the 25 seconds of the drain
    // Although the handler still sleeps.
    expect(await exit).toEqual([0, null]);
  });
});
