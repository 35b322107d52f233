/**
 * The half of `proxy` over HTTP/2, cleartext by prior knowledge: h2load sends requests for 5,000 different paths on
 * 4 connections of 32 streams, so that no cache of whole heads flatters anything; nginx is the server behind.
 * Both have to be installed, and haproxy and Envoy for the comparison.
 */
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { startEnvoy } from "./proxy-envoy.ts";
import {
  answering,
  cpuOf,
  found,
  nginxFile,
  startHaproxy,
  startMesh,
  type Player,
} from "./proxy-players.ts";
import { quantile, row, type Row } from "./report.ts";
import { freePort } from "../scripts/free-port.ts";

const BARS = { haproxy: 1.8, envoy: 0.4 } as const;
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
    for (const start of [startMesh, startHaproxy, startEnvoy]) {
      const player = await start(backends, folder, progress, true);
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
  for (const name of ["haproxy", "envoy"] as const) {
    const others = cpuUs.get(name);
    if (own === undefined || others === undefined) continue;
    const ratios = own.map((us, round) => us / others[round]!);
    rows.push(row(`proxy.cpu_ratio.http2.${name}`, "×", ratios, BARS[name]));
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
    nginxFile(
      folder,
      "servers",
      `  server {
${ports.map((port) => `    listen 127.0.0.1:${port} http2;`).join("\n")}
    location / { default_type text/plain; return 200 "${"x".repeat(1_024)}"; }
  }`,
    ),
  );
  const child = spawn(found("nginx")!, ["-c", file, "-e", join(folder, "servers.log")], {
    stdio: "ignore",
  });
  started.push({ stop: () => void child.kill() });
  for (const port of ports) await answering(port);
  return ports;
}
