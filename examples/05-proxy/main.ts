/**
 * Two services in one mesh: `stock` in Python, which knows nothing of it and has a proxy beside each process, and
 * `prices` in Node, with the mesh inside. All of them read one mesh.yaml. While calls run, one proxy leaves as in a rolling
 * restart, and one of `prices` is killed: no call fails.
 *
 * Run: npm run example:proxy (it needs python3)
 */
import { spawn, type ChildProcess } from "node:child_process";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { createMesh, meshClient, meshServer } from "inmesh";

const here = import.meta.dirname;
const CONFIG = join(here, "mesh.yaml");
/** In a project that has installed it: npx mesh-proxy. */
const PROXY = ["--conditions=inmesh-source", join(here, "../../packages/proxy/src/cli/run.ts")];

const children: ChildProcess[] = [];

function start(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): ChildProcess {
  const child = spawn(command, args, {
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, NODE_OPTIONS: "", ...env },
  });
  children.push(child);
  return child;
}

/** Waits until something listens there. */
async function listens(port: number): Promise<void> {
  for (;;) {
    const isOpen = await new Promise<boolean>((resolve) => {
      const socket = connect(port, "127.0.0.1", () => resolve(true));
      socket.on("connect", () => socket.destroy());
      socket.on("error", () => resolve(false));
    });
    if (isOpen) return;
    await pause(50);
  }
}

// ── prices, in Node: the mesh is inside of the process ───────────────────────────────────────────

const mesh = createMesh({ configFile: CONFIG });
const prices = [7201, 7202].map(() =>
  meshServer((request, response) => {
    const item = request.url!.split("/").at(-1)!;
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ price: item.length * 100 }));
  }),
);
for (const [i, server] of prices.entries()) {
  await server.listen({ port: 7201 + i, host: "127.0.0.1" });
}

// ── stock, in Python: each process has a proxy beside it ─────────────────────────────────────────

const proxies = [1, 2].map((i) => {
  const [app, inbound, outbound] = [7000 + i, 7100 + i, 7300 + i];
  start("python3", [join(here, "stock.py"), String(app)], {
    http_proxy: `http://127.0.0.1:${outbound}`,
    no_proxy: "",
  });
  return start(process.execPath, [
    ...PROXY,
    "--config",
    CONFIG,
    "--log",
    "none",
    "--listen",
    `127.0.0.1:${outbound}`,
    "--inbound",
    `127.0.0.1:${inbound}`,
    "--app",
    `127.0.0.1:${app}`,
  ]);
});
await Promise.all([7001, 7002, 7101, 7102, 7301, 7302].map(listens));

// ── a caller, in Node: by the name that mesh.yaml gives the service ──────────────────────────────

const stock = meshClient("stock", { mesh });
const seen = new Map<number, number>();
let failed = 0;
for (let i = 0; i < 120; i++) {
  if (i === 40) proxies[0]!.kill("SIGTERM");
  if (i === 80) void prices[0]!.close(0);
  try {
    const reply = await stock.fetch(`/v1/item-${i}`);
    const { price, from } = (await reply.json()) as { price: number; from: number };
    if (price !== `item-${i}`.length * 100) failed++;
    seen.set(from, (seen.get(from) ?? 0) + 1);
  } catch (error) {
    failed++;
    console.error(String(error));
  }
}
console.log(`120 calls by ${seen.size} processes in Python, ${failed} failed`);

for (const child of children) child.kill("SIGKILL");
await Promise.all(prices.map((server) => server.close(0)));
await mesh.close(0);
process.exitCode = failed === 0 && seen.size === 2 ? 0 : 1;
