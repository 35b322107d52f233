/**
 * The half of `proxy` over HTTP/2, cleartext by prior knowledge: h2load sends requests for 5,000 different paths on
 * 4 connections of 32 streams, so that no cache of whole heads flatters anything; nginx is the server behind.
 * Both have to be installed, and haproxy for the comparison.
 */
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  answering,
  cpuOf,
  forked,
  found,
  freePort,
  systemProxy,
  type Player,
} from "./proxy-players.ts";
import { quantile, row, type Row } from "./report.ts";

const BAR = 1.8;
const PATHS = 5_000;
const CONNECTIONS = 4;
const STREAMS = 32;
const ENDPOINTS = 3;

export interface Http2Options {
  readonly quick: boolean;
  readonly only: string | undefined;
  readonly folder: string;
  readonly progress: (line: string) => void;
}

export async function http2Rows({ quick, only, folder, progress }: Http2Options): Promise<Row[]> {
  if (found("h2load") === undefined || found("nginx") === undefined) {
    progress("proxy: h2load or nginx is not installed: the rows of HTTP/2 are left out");
    return [];
  }
  const rounds = quick ? 3 : 9;
  const requests = quick ? 10_000 : 100_000;
  const started: { stop(): void }[] = [];
  try {
    const backends = await servers(folder, started);
    const players: Player[] = [];
    for (const start of [mesh, haproxy]) {
      const player = await start(backends, folder, progress);
      if (player === undefined || (only !== undefined && !player.name.startsWith(only))) continue;
      players.push(player);
      started.push(player);
    }
    const cpuUs = new Map<string, number[]>(players.map(({ name }) => [name, []]));
    const paths = join(folder, "paths.txt");
    for (let round = -1; round < rounds; round++) {
      const count = round < 0 ? requests * 2 : requests;
      for (const player of players) {
        writeFileSync(paths, pathsOf(player.port));
        const before = cpuOf(player);
        await load(paths, count);
        if (round >= 0) cpuUs.get(player.name)!.push((cpuOf(player) - before) / count / 1_000);
      }
      if (round < 0) continue;
      const now = players.map(
        ({ name }) => `${name} ${quantile(cpuUs.get(name)!, 0.5).toFixed(1)}`,
      );
      progress(
        `proxy: HTTP/2, round ${round + 1} of ${rounds}, µs of CPU per request: ${now.join(", ")}`,
      );
    }
    return rowsOf(players, cpuUs);
  } finally {
    for (const one of started) one.stop();
  }
}

function rowsOf(players: readonly Player[], cpuUs: ReadonlyMap<string, number[]>): Row[] {
  const rows: Row[] = [];
  const own = cpuUs.get("mesh");
  const others = cpuUs.get("haproxy");
  if (own !== undefined && others !== undefined) {
    const ratios = own.map((us, round) => us / others[round]!);
    rows.push(row("proxy.cpu_ratio.http2.haproxy", "×", ratios, BAR));
  }
  for (const { name } of players)
    rows.push(row(`proxy.cpu_us.http2.${name}`, "µs", cpuUs.get(name)!));
  return rows;
}

function pathsOf(port: number): string {
  const lines: string[] = [];
  for (let i = 0; i < PATHS; i++)
    lines.push(`http://127.0.0.1:${port}/v1/orders/${i * 7_919}/items?page=${i % 10}`);
  return lines.join("\n");
}

async function load(paths: string, requests: number): Promise<void> {
  const program = found("h2load")!;
  const args = [
    "-n",
    String(requests),
    "-c",
    String(CONNECTIONS),
    "-m",
    String(STREAMS),
    "-i",
    paths,
  ];
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => (said += String(chunk)));
  await new Promise((resolve) => child.once("close", resolve));
  if (!said.includes(`${requests} succeeded, 0 failed`))
    throw new Error(`h2load: requests failed\n${said}`);
}

/** nginx with 1 KB for everything, on as many ports as there are endpoints. */
async function servers(folder: string, started: { stop(): void }[]): Promise<number[]> {
  const ports: number[] = [];
  for (let i = 0; i < ENDPOINTS; i++) ports.push(await freePort());
  const file = join(folder, "servers.conf");
  writeFileSync(
    file,
    `daemon off;
worker_processes 1;
error_log ${folder}/servers.log;
pid ${folder}/servers.pid;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  keepalive_requests 1000000000;
  server {
${ports.map((port) => `    listen 127.0.0.1:${port} http2;`).join("\n")}
    location / { default_type text/plain; return 200 "${"x".repeat(1_024)}"; }
  }
}
`,
  );
  const child = spawn(found("nginx")!, ["-c", file, "-e", join(folder, "servers.log")], {
    stdio: "ignore",
  });
  started.push({ stop: () => void child.kill() });
  for (const port of ports) await answering(port);
  return ports;
}

async function mesh(backends: readonly number[]): Promise<Player> {
  const addresses = backends.map((port) => `127.0.0.1:${port}`);
  const { port, pid, stop } = await forked("proxy.mjs", ["http2", ...addresses]);
  return { name: "mesh", port, pids: () => [pid], stop };
}

async function haproxy(
  backends: readonly number[],
  folder: string,
  progress: (line: string) => void,
): Promise<Player | undefined> {
  const port = await freePort();
  const file = join(folder, "haproxy2.cfg");
  writeFileSync(
    file,
    `global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 1s
  http-reuse always
frontend front
  bind 127.0.0.1:${port} proto h2
  http-request set-header x-added 1
  default_backend back
backend back
  balance random(2)
${backends.map((one, n) => `  server s${n} 127.0.0.1:${one} proto h2`).join("\n")}
`,
  );
  return systemProxy("haproxy", ["-db", "-f", file], port, progress);
}
