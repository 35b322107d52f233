/** Fresh processes: what one prints as JSON, and how a measurement inside one is timed. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const exec = promisify(execFile);
const FLAGS = ["--no-warnings", "--expose-gc"];

/** Runs `benchmarks/child/<script>` from source, and reads the one JSON value it prints. */
export function child<T>(script: string, args: readonly string[] = []): Promise<T> {
  const path = fileURLToPath(new URL(`./child/${script}`, import.meta.url));
  return node<T>([...FLAGS, "--conditions=inmesh-source", path, ...args]);
}

export async function node<T>(args: readonly string[]): Promise<T> {
  const { stdout } = await exec(process.execPath, args, { maxBuffer: 1 << 24 });
  return JSON.parse(stdout) as T;
}

/** Milliseconds this thread has spent on a CPU: what other processes take from it does not count. */
export function threadMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/** Nanoseconds per operation of a loop, by the thread's CPU time. */
export function timed(operations: number, loop: () => void): number {
  const before = threadMs();
  loop();
  return ((threadMs() - before) * 1e6) / operations;
}

/** Collects garbage until nothing more is found; the bytes in use on the heap and in buffers. */
export function settledHeap(): number {
  if (globalThis.gc === undefined) throw new Error("run with --expose-gc");
  for (let i = 0; i < 4; i++) void globalThis.gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
