/**
 * What a request costs in mesh-proxy, beside haproxy and nginx (from the system, where they are there), Envoy and proxies
 * of the ecosystem of Node: CPU of the whole process per request by the kernel's count (schedstat), HTTP/1, 1 KB, 32
 * connections that are kept, three endpoints, in interleaved rounds, all on one core. Latency is that of one request in flight
 * above that of the server itself; memory that of a process with 1,000 idle connections.
 */
import { execFile, fork } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { ask } from "./child.ts";
import { startEnvoy } from "./proxy-envoy.ts";
import { http2Rows } from "./proxy-http2.ts";
import {
  cpuOf,
  forked,
  nginxFile,
  onOneCore,
  startHaproxy,
  startMesh,
  systemProxy,
  type Player,
} from "./proxy-players.ts";
import { quantile, row, type Options, type Row } from "./report.ts";
import { freePort } from "../scripts/free-port.ts";

export const describe =
  "CPU per request, latency and memory of mesh-proxy, beside haproxy, Envoy, nginx and Node's own proxies";

const BARS = { haproxy: 1.6, envoy: 0.6, nodeBest: 0.6, addedP50Us: 60, rssMb: 90 } as const;
const ROOT = fileURLToPath(new URL("..", import.meta.url));
const CONNECTIONS = 32;
/** Until V8 has compiled what is hot: on one core its compiler waits for its turn like everything else. */
const WARM_REQUESTS = 200_000;
const QUICK_WARM_REQUESTS = 30_000;
const ENDPOINTS = 3;
const IDLE = 1_000;
const NODE_PEERS = ["httpxy", "http-proxy-3", "@fastify/http-proxy"] as const;

interface Took {
  readonly p50Us: number;
  readonly p99Us: number;
}

export async function run({ quick, progress, only }: Options): Promise<Row[]> {
  if (process.platform !== "linux") throw new Error("proxy: needs /proc, so it runs on Linux");
  progress("proxy: building the packages");
  await promisify(execFile)("npm", ["run", "--silent", "build"], { cwd: ROOT });
  onOneCore(progress);
  const rounds = quick ? 3 : 9;
  const requests = quick ? 3_000 : 40_000;
  const warmRequests = quick ? QUICK_WARM_REQUESTS : WARM_REQUESTS;
  const folder = mkdtempSync(join(tmpdir(), "inmesh-bench-"));
  const started: { stop(): void }[] = [];
  try {
    const backends: number[] = [];
    for (let i = 0; i < ENDPOINTS; i++) {
      const backend = await forked("proxy-backend.ts", []);
      started.push(backend);
      backends.push(backend.port);
    }
    const load = loadClient();
    started.push(load);
    const players: Player[] = [];
    for (const start of [startMesh, startHaproxy, startEnvoy, nginx, ...NODE_PEERS.map(nodePeer)]) {
      const player = await start(backends, folder, progress);
      if (player === undefined || (only !== undefined && !player.name.startsWith(only))) continue;
      players.push(player);
      started.push(player);
    }
    const cpuUs = new Map<string, number[]>(players.map(({ name }) => [name, []]));
    const p50Us = new Map<string, number[]>([
      ["direct", []],
      ...players.map(({ name }) => [name, []] as [string, number[]]),
    ]);
    for (let round = -1; round < rounds; round++) {
      const count = round < 0 ? warmRequests : requests;
      for (const player of players) {
        const before = cpuOf(player);
        await load.make(player.port, CONNECTIONS, count);
        if (round >= 0) cpuUs.get(player.name)!.push((cpuOf(player) - before) / count / 1_000);
      }
      if (round < 0) continue;
      p50Us.get("direct")!.push((await load.make(backends[0]!, 1, requests / 10)).p50Us);
      for (const { name, port } of players)
        p50Us.get(name)!.push((await load.make(port, 1, requests / 10)).p50Us);
      const now = players.map(
        ({ name }) => `${name} ${quantile(cpuUs.get(name)!, 0.5).toFixed(1)}`,
      );
      progress(`proxy: round ${round + 1} of ${rounds}, µs of CPU per request: ${now.join(", ")}`);
    }
    const [own] = players;
    const idle = own === undefined ? undefined : await idleMb(own, load, progress);
    for (const one of started.splice(0)) one.stop();
    const rows = rowsOf(players, cpuUs, p50Us, idle);
    return [...rows, ...(await http2Rows({ quick, only, folder, progress }))];
  } finally {
    for (const one of started) one.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

function rowsOf(
  players: readonly Player[],
  cpuUs: ReadonlyMap<string, number[]>,
  p50Us: ReadonlyMap<string, number[]>,
  idle: { start: number; idle: number } | undefined,
): Row[] {
  const rows: Row[] = [];
  const own = cpuUs.get("mesh") ?? [];
  const ratioTo = (name: string): number[] => own.map((us, round) => us / cpuUs.get(name)![round]!);
  if (own.length > 0) {
    for (const name of ["haproxy", "envoy"] as const) {
      if (cpuUs.has(name)) {
        rows.push(row(`proxy.cpu_ratio.http1.${name}`, "×", ratioTo(name), BARS[name]));
      }
    }
    if (cpuUs.has("nginx")) rows.push(row("proxy.cpu_ratio.http1.nginx", "×", ratioTo("nginx")));
    const peers = NODE_PEERS.filter((name) => cpuUs.has(name));
    const [best] = peers.toSorted(
      (a, b) => quantile(cpuUs.get(a)!, 0.5) - quantile(cpuUs.get(b)!, 0.5),
    );
    if (best !== undefined) {
      rows.push(row("proxy.cpu_ratio.http1.node_best", "×", ratioTo(best), BARS.nodeBest));
    }
    const direct = p50Us.get("direct")!;
    const added = (name: string): number[] =>
      p50Us.get(name)!.map((us, round) => us - direct[round]!);
    rows.push(row("proxy.added_p50_us", "µs", added("mesh"), BARS.addedP50Us));
    for (const { name } of players) {
      if (name !== "mesh") rows.push(row(`proxy.added_p50_us.${name}`, "µs", added(name)));
    }
  }
  if (idle !== undefined) {
    rows.push(row("proxy.rss_mb.idle_1000", "MB", [idle.idle], BARS.rssMb));
    rows.push(row("proxy.rss_mb.start", "MB", [idle.start]));
  }
  for (const { name } of players)
    rows.push(row(`proxy.cpu_us.http1.${name}`, "µs", cpuUs.get(name)!));
  return rows;
}

/** Of a process of its own, which has served a little and then holds idle connections. */
async function idleMb(
  own: Player,
  load: Load,
  progress: (line: string) => void,
): Promise<{ start: number; idle: number } | undefined> {
  if (own.name !== "mesh") return undefined;
  const fresh = await forked("proxy.mjs", ["127.0.0.1:9"]);
  try {
    await new Promise((resolve) => setTimeout(resolve, 500));
    const start = rssMb(fresh.pid);
    await load.make(fresh.port, IDLE, 0);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const idle = rssMb(fresh.pid);
    progress(
      `proxy: ${start.toFixed(0)} MB at the start, ${idle.toFixed(0)} MB with ${IDLE} idle connections`,
    );
    return { start, idle };
  } finally {
    fresh.stop();
  }
}

// ── those that are measured ──────────────────────────────────────────────────────────────────────

async function nginx(
  backends: readonly number[],
  folder: string,
  progress: (line: string) => void,
): Promise<Player | undefined> {
  const port = await freePort();
  const file = join(folder, "nginx.conf");
  writeFileSync(
    file,
    nginxFile(
      folder,
      "nginx",
      `  upstream back {
${backends.map((one) => `    server 127.0.0.1:${one};`).join("\n")}
    keepalive 64;
    keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://back;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host orders;
    }
  }`,
    ),
  );
  return systemProxy("nginx", ["-c", file, "-e", join(folder, "error.log")], port, progress);
}

function nodePeer(name: (typeof NODE_PEERS)[number]) {
  return async (
    backends: readonly number[],
    _folder: string,
    progress: (line: string) => void,
  ): Promise<Player | undefined> => {
    try {
      import.meta.resolve(name);
    } catch {
      progress(`proxy: ${name} is not installed: its rows are left out`);
      return undefined;
    }
    const { port, pid, stop } = await forked("proxy-peer.ts", [name, `127.0.0.1:${backends[0]}`]);
    return { name, port, pids: () => [pid], stop };
  };
}

// ── processes ────────────────────────────────────────────────────────────────────────────────────

interface Load {
  make(port: number, connections: number, requests: number): Promise<Took>;
  stop(): void;
}

function loadClient(): Load {
  const child = fork(fileURLToPath(new URL("./child/proxy-load.ts", import.meta.url)), [], {
    execArgv: ["--no-warnings"],
  });
  return {
    make: (port, connections, requests) =>
      ask<Took>(child, { port, connections, requests: Math.ceil(requests) }),
    stop: () => void child.kill(),
  };
}

function rssMb(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1_024;
}
