/** Processes of their own, to be frozen, killed and starved. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";

export interface Child extends AsyncDisposable {
  readonly process: ChildProcess;
  readonly port: number;
}

/** Runs CommonJS text that ends up calling `ready(port)`. */
export async function startChild(source: string): Promise<Child> {
  const text = `const ready = (port) => process.stdout.write(port + "\\n");\n${source}`;
  const child = spawn(process.execPath, ["-e", text], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  return {
    process: child,
    port: Number(line.toString()),
    async [Symbol.asyncDispose]() {
      const gone = child.exitCode !== null || child.signalCode !== null;
      child.stdout.destroy();
      if (gone) return;
      child.kill("SIGKILL");
      await once(child, "exit");
    },
  };
}

/** Runs a module of `test/children/` with at most `descriptors` open files; gives what it printed. */
export async function runStarved(
  file: string,
  descriptors: number,
  args: readonly string[],
): Promise<string> {
  const path = fileURLToPath(new URL(`../children/${file}`, import.meta.url));
  const child = starve(path, descriptors, args);
  let out = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  await once(child, "close");
  return out;
}

/** Starts a module in a process that may have so many open files; it prints its port. Ends with the test. */
export async function startWithDescriptors(
  path: string,
  descriptors: number,
  ...args: readonly string[]
): Promise<{ port: number; exited(): boolean }> {
  const child = starve(path, descriptors, args);
  let exited = false;
  child.on("exit", () => (exited = true));
  onTestFinished(() => void child.kill("SIGKILL"));
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  return { port: Number(line.toString()), exited: () => exited };
}

function starve(path: string, descriptors: number, args: readonly string[]) {
  const flags = ["--conditions=inmesh-source", "--disable-warning=ExperimentalWarning"];
  const shell = `ulimit -n ${descriptors}; exec "$0" "$@"`;
  return spawn("/bin/sh", ["-c", shell, process.execPath, ...flags, path, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
}

/** A listener that the kernel drops SYNs for: its process is frozen and its accept queue full. */
export async function startBlackHole(host = "127.0.0.1"): Promise<Child> {
  const child = await startChild(`
    const server = require("node:net").createServer(() => {});
    server.listen({ port: 0, host: ${JSON.stringify(host)}, backlog: 1 }, () => ready(server.address().port));
  `);
  child.process.kill("SIGSTOP");
  await new Promise((resolve) => setTimeout(resolve, 20));
  const fillers: Socket[] = [];
  for (let dropped = 0; dropped < 2;) {
    const socket = connect(child.port, host);
    socket.on("error", () => {});
    fillers.push(socket);
    const connected = await Promise.race([
      once(socket, "connect").then(() => true),
      new Promise<boolean>((resolve) => setTimeout(resolve, 60, false)),
    ]);
    if (!connected) dropped++;
    if (fillers.length > 20) throw new Error("the accept queue does not fill up");
  }
  return {
    process: child.process,
    port: child.port,
    async [Symbol.asyncDispose]() {
      for (const socket of fillers) socket.destroy();
      await child[Symbol.asyncDispose]();
    },
  };
}
