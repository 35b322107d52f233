/** What a server does when its process runs out of something: memory, descriptors. */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, it, onTestFinished } from "vitest";
import { RawClient } from "./support/raw-client.ts";
import { sleep } from "./wire.ts";

const GET = (path: string): string => `GET ${path} HTTP/1.1\r\nhost: svc\r\n\r\n`;

async function startFork(
  file: string,
  flags: readonly string[],
): Promise<{ child: ChildProcess; port: number }> {
  const child = fork(fileURLToPath(new URL(`children/${file}`, import.meta.url)), {
    execArgv: ["--conditions=inmesh-source", "--disable-warning=ExperimentalWarning", ...flags],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const [{ port }] = (await once(child, "message")) as [{ port: number }];
  return { child, port };
}

it("B7 LS: a heap that is nearly full refuses with 503 and a nack, is not ready, and recovers", async () => {
  const { child, port } = await startFork("heap.ts", [
    "--max-old-space-size=64",
    "--max-semi-space-size=4",
  ]);
  let exited = false;
  child.on("exit", () => (exited = true));
  using client = await RawClient.to(port);
  const ask = (path: string): ReturnType<RawClient["reply"]> => {
    client.send(GET(path));
    return client.reply(60_000);
  };
  let held = 0;
  let reply = await ask("/hold");
  for (; reply.status === 200; held++) {
    await sleep(1); // a look comes every 20 ms
    reply = await ask("/hold");
  }
  expect(reply.status).toBe(503);
  expect(reply.body).toBe("heap\n");
  expect(reply.head).toMatch(/\r\nretry-after: 1\r\n/);
  expect(reply.head).toMatch(/\r\nx-mesh-nack: 1\r\n/);
  // Not from the start: some ten megabytes were let in.
  expect(held).toBeGreaterThan(100);
  expect((await ask("/readyz")).body).toBe("overloaded\n");
  expect((await ask("/livez")).status).toBe(200);
  child.send("free");
  const [{ refused }] = (await once(child, "message")) as [{ refused: Record<string, number> }];
  expect(refused["heap"]).toBeGreaterThan(0);
  while ((await ask("/")).status !== 200) await sleep(5);
  expect(exited).toBe(false);
}, 120_000);
