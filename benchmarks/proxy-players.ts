/** Processes that the benchmark of the proxy measures, and how: both versions of HTTP use them. */
import { fork, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { ask } from "./child.ts";

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
  const child = spawn(program, args, { stdio: "ignore" });
  await answering(port);
  return { name, port, pids: () => familyOf(child.pid!), stop: () => void child.kill() };
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

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
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
