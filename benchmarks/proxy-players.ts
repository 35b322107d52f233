/** Processes that the benchmark of the proxy measures, and how: both versions of HTTP use them. */
import { fork, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ask } from "./child.ts";
import { freePort } from "../scripts/free-port.ts";

/** A proxy that is measured. */
export interface Player {
  readonly name: string;
  readonly port: number;
  /** Its processes that serve. */
  readonly pids: () => number[];
  stop(): void;
}

/** A program of the system. Undefined: it is not there. */
export function found(name: string): string | undefined {
  return ["", "/usr/sbin/"]
    .map((path) => `${path}${name}`)
    .find((path) => spawnSync(path, ["-v"], { stdio: "ignore" }).error === undefined);
}

/** Undefined: it is not there, and its rows are left out. */
export async function systemProxy(
  name: string,
  args: readonly string[],
  port: number,
  progress: (line: string) => void,
): Promise<Player | undefined> {
  const program = found(name);
  if (program === undefined) {
    progress(`proxy: ${name} is not installed: its rows are left out`);
    return undefined;
  }
  return programProxy(name, program, args, port);
}

export async function programProxy(
  name: string,
  program: string,
  args: readonly string[],
  port: number,
): Promise<Player> {
  const child = spawn(program, args, { stdio: "ignore" });
  await answering(port);
  return { name, port, pids: () => familyOf(child.pid!), stop: () => void child.kill() };
}

/**
 * Puts this process, and what it starts from now on, on one core, so that no wake-up of another core is counted: it
 * costs more than the work of a proxy, and how much depends on what else the machine does.
 */
export function onOneCore(progress: (line: string) => void): void {
  const allowed = /Cpus_allowed_list:\s+(\S+)/.exec(readFileSync("/proc/self/status", "utf8"))![1]!;
  const core = /\d+$/.exec(allowed)![0];
  const { error, status } = spawnSync("taskset", ["-a", "-p", "-c", core, String(process.pid)]);
  if (error !== undefined || status !== 0) {
    progress("proxy: taskset does not work here: what is measured runs on all cores");
  }
}

/** mesh-proxy before those servers, over HTTP/1 on both sides or over HTTP/2. */
export async function startMesh(
  backends: readonly number[],
  _folder: string,
  _progress: (line: string) => void,
  http2 = false,
): Promise<Player> {
  const addresses = backends.map((port) => `127.0.0.1:${port}`);
  const { port, pid, stop } = await forked("proxy.mjs", [
    ...(http2 ? ["http2"] : []),
    ...addresses,
  ]);
  return { name: "mesh", port, pids: () => [pid], stop };
}

/** The same by haproxy, with one thread, the better of two servers by chance, and a field that is added. */
export async function startHaproxy(
  backends: readonly number[],
  folder: string,
  progress: (line: string) => void,
  http2 = false,
): Promise<Player | undefined> {
  const port = await freePort();
  const file = join(folder, http2 ? "haproxy2.cfg" : "haproxy.cfg");
  const proto = http2 ? " proto h2" : "";
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
${http2 ? "" : "  option http-keep-alive\n"}frontend front
  bind 127.0.0.1:${port}${proto}
  http-request set-header x-added 1
  default_backend back
backend back
  balance random(2)
${backends.map((one, n) => `  server s${n} 127.0.0.1:${one}${proto}`).join("\n")}
`,
  );
  return systemProxy("haproxy", ["-db", "-f", file], port, progress);
}

/** A configuration of nginx that writes nothing outside of `folder`; `inside`: what stands in `http`. */
export function nginxFile(folder: string, name: string, inside: string): string {
  return `daemon off;
worker_processes 1;
error_log ${folder}/${name}.log;
pid ${folder}/${name}.pid;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  keepalive_requests 1000000000;
${inside}
}
`;
}

/** A script of `child/`; one of JavaScript runs what is built. */
export async function forked(
  script: string,
  args: readonly string[],
): Promise<{ port: number; pid: number; child: ChildProcess; stop: () => void }> {
  const child = fork(fileURLToPath(new URL(`./child/${script}`, import.meta.url)), args, {
    execArgv: ["--no-warnings", ...(script.endsWith(".ts") ? ["--conditions=inmesh-source"] : [])],
  });
  const { port } = await ask<{ port: number }>(child, {});
  return { port, pid: child.pid!, child, stop: () => void child.kill() };
}

/** Nanoseconds on a CPU, of all threads. */
export function cpuOf({ pids }: Player): number {
  let ns = 0;
  for (const pid of pids()) {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      ns += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
    }
  }
  return ns;
}

/** A process and its children, where a master has workers. */
function familyOf(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  return [pid, ...(children === "" ? [] : children.split(" ").map(Number))];
}

export async function answering(port: number): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const socket = connect({ port, host: "127.0.0.1" });
    const isOpen = await new Promise<boolean>((resolve) => {
      socket.on("connect", () => resolve(true));
      socket.on("error", () => resolve(false));
    });
    socket.destroy();
    if (isOpen) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`nothing listens on port ${port}`);
}
