/** Starts the peers, waits for what they say, and ends every one of them by itself. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";

/** Waits for one of the servers to be up; a slow machine takes seconds, never this long. */
const START_TIMEOUT_MS = 20_000;

export interface Running {
  readonly port: number;
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
}

const alive = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of alive) child.kill("SIGKILL");
});

/** gRPC's Go server on a port of its choice. */
export async function startGoServer(program: string): Promise<Running> {
  const child = spawn(program, ["-port", "0"], {
    env: { ...process.env, GRPC_GO_LOG_SEVERITY_LEVEL: "info" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  keep(child);
  let said = "";
  const port = await new Promise<number>((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`${program} said no port:\n${said}`)),
      START_TIMEOUT_MS,
    );
    child.stderr.on("data", (chunk: Buffer) => {
      if (said.length < 10_000) said += chunk.toString();
      const match = /listening on \S*:(\d+)/.exec(said);
      if (match === null) return;
      clearTimeout(timer);
      resolve(Number(match[1]));
    });
    child.once("exit", (code) => {
      clearTimeout(timer);
      reject(new Error(`${program} ended with ${code}:\n${said}`));
    });
  });
  return { port, kill: () => end(child) };
}

export interface Result {
  /** 0 is success; null after a time-out. */
  readonly code: number | null;
  /** The last of what it wrote, both streams. */
  readonly output: string;
}

/** Runs a program to its end, which is forced after `timeoutMs`. */
export async function run(
  program: string,
  args: readonly string[],
  timeoutMs: number,
): Promise<Result> {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  keep(child);
  let output = "";
  const take = (chunk: Buffer): void => void (output = (output + chunk.toString()).slice(-200_000));
  child.stdout.on("data", take);
  child.stderr.on("data", take);
  const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
  const [code] = (await once(child, "close")) as [number | null];
  clearTimeout(timer);
  return { code, output };
}

function keep(child: ChildProcess): void {
  alive.add(child);
  child.once("exit", () => alive.delete(child));
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}
