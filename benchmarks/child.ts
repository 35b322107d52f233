/** Fresh processes: what one prints as JSON, and how a measurement inside one is timed. */
import { execFile, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { quantile } from "./report.ts";

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

/** The answer of a forked child to a message. A child that dies instead has said why on stderr. */
export async function ask<T>(process: ChildProcess, message: object): Promise<T> {
  const gone = new AbortController();
  const died = once(process, "exit", gone).then(() => {
    throw new Error("a process of the benchmark died");
  });
  died.catch(() => {});
  process.send(message);
  const [answer] = await Promise.race([once(process, "message", gone), died]);
  gone.abort();
  return answer as T;
}

/**
 * Milliseconds this thread has spent on a CPU: what other processes take from it does not count.
 * Some kernels count in steps of 4 ms, so it is for loops of 100 ms and more.
 */
export function threadMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

const SLICES = 20;

/** Nanoseconds per operation: the median of slices so short that most are not interrupted. */
export function timed(operations: number, loop: (count: number) => void): number {
  const count = Math.ceil(operations / SLICES);
  const slices: number[] = [];
  for (let i = 0; i < SLICES; i++) {
    const before = performance.now();
    loop(count);
    slices.push(((performance.now() - before) * 1e6) / count);
  }
  return quantile(slices, 0.5);
}

/** Collects garbage until nothing more is found; the bytes in use on the heap and in buffers. */
export function settledHeap(): number {
  if (globalThis.gc === undefined) throw new Error("run with --expose-gc");
  for (let i = 0; i < 4; i++) void globalThis.gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
