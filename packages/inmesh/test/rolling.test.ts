/** A rolling restart in small; `npm run check:rolling` is the large one. */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { createMesh, meshClient } from "inmesh";
import { expect, onTestFinished, test } from "vitest";
import { freePort } from "../../../scripts/free-port.ts";

const SERVER = fileURLToPath(new URL("fixtures/rolling-server.ts", import.meta.url));
const SERVERS = 3;
const RESTARTS = 2;

/**
 * Free at this moment, no two the same, and below those that a system gives where any port is asked for: a
 * port that is free while its server restarts must not become that of another test's server.
 */
async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) ports.add(await freePort());
  return [...ports];
}

async function startServer(ports: readonly number[]): Promise<ChildProcess> {
  const child = fork(SERVER, ports.map(String), {
    execArgv: ["--conditions=inmesh-source", "--disable-warning=ExperimentalWarning"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const exited = once(child, "exit").then(([code]) => {
    throw new Error(`the server on ${ports.join(" and ")} ended with ${code} before it listened`);
  });
  await Promise.race([once(child, "message"), exited]);
  return child;
}

test("L1 LC LS: three servers, two restarts of each under load: no call fails", async () => {
  const ports = await freePorts(2 * SERVERS);
  const places = Array.from({ length: SERVERS }, (_, i) => [ports[2 * i]!, ports[2 * i + 1]!]);
  const children = await Promise.all(places.map(startServer));
  const services = Object.fromEntries(
    ["http1", "http2"].map((name, i) => [
      name,
      {
        discovery: { static: places.map((place) => `127.0.0.1:${place[i]}`) },
        http2: i === 1,
        timeouts: { requestMs: 20_000 },
        breaker: { minOpenMs: 100 }, // a restart here takes no longer
      },
    ]),
  );
  const mesh = createMesh({ env: {}, config: { services } });
  onTestFinished(() => mesh.close(0));
  const load = { stopped: false };
  const failures: string[] = [];
  /** Which server has answered, over which version. */
  const answered = new Set<string>();
  const workers = (["http1", "http2"] as const).flatMap((name) => {
    const client = meshClient(name, { mesh });
    return Array.from({ length: 6 }, async (_, worker) => {
      for (let i = 0; !load.stopped; i++) {
        const id = `${name}-${worker}-${i}`;
        const init = i % 2 === 0 ? {} : { method: "POST", body: id };
        await client.fetch("/", { ...init, headers: { "x-id": id } }).then(
          async (reply) => {
            const text = await reply.text();
            if (text === id) answered.add(`${name} by ${reply.headers.get("x-process")}`);
            else failures.push(`${id}: ${reply.status} ${text}`);
          },
          (error: unknown) => failures.push(`${id}: ${String(error)}`),
        );
        await new Promise((resolve) => setTimeout(resolve, 3));
      }
    });
  });
  const inUse = async ({ pid }: ChildProcess): Promise<void> => {
    while (!answered.has(`http1 by ${pid}`) || !answered.has(`http2 by ${pid}`)) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  await Promise.all(children.map(inUse));
  for (let restart = 0; restart < RESTARTS; restart++) {
    for (const [i, place] of places.entries()) {
      const old = children[i]!;
      const exited = once(old, "exit");
      old.kill("SIGTERM");
      expect(await exited).toEqual([0, null]);
      // The next goes when this one is in use, as an orchestrator waits until it is ready.
      await inUse((children[i] = await startServer(place)));
    }
  }
  load.stopped = true;
  await Promise.all(workers);
  expect(failures).toEqual([]);
  expect(answered.size).toBe(2 * SERVERS * (1 + RESTARTS));
}, 60_000);
