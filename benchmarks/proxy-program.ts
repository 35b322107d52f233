/** `mesh-proxy` as a program of its own, with what is said in one file, for benchmarks that look at its process. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

const PACKAGE = join(import.meta.dirname, "../packages/proxy");
const SOURCE = ["--no-warnings", "--conditions=inmesh-source", join(PACKAGE, "src/cli/run.ts")];
/** Its memory is that of a program that is installed. */
const BUILT = [join(PACKAGE, "dist/cli/run.js")];

const WATCHED = ["--expose-gc", "--import", join(import.meta.dirname, "child/live-heap.mjs")];

export interface ProgramOptions {
  /** What `npm run build` has made, and not the sources. Default: the sources. */
  readonly built?: boolean;
  readonly args?: readonly string[];
  /** `liveMb` may be asked. Default: it may not. */
  readonly watched?: boolean;
}

export class MeshProxy {
  readonly child: ChildProcess;
  readonly #said: () => string;

  private constructor(child: ChildProcess, said: () => string) {
    this.child = child;
    this.#said = said;
  }

  /** Resolves when it listens. */
  static async start(
    file: string,
    { built = false, args = [], watched = false }: ProgramOptions = {},
  ): Promise<MeshProxy> {
    const command = [
      ...(watched ? WATCHED : []),
      ...(built ? BUILT : SOURCE),
      "--config",
      file,
      ...args,
    ];
    const child = spawn(process.execPath, command, {
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, NODE_OPTIONS: "", INMESH_CONFIG: "", NO_COLOR: "1" },
    });
    let said = "";
    child.stderr!.on("data", (chunk: Buffer) => {
      // What is logged later is of no use to anyone.
      if (said.length < 65_536) said += chunk.toString();
    });
    const exited = once(child, "exit");
    while (!/^mesh-proxy \d/m.test(said)) {
      const isOver = await Promise.race([exited.then(() => true), pause(20, false)]);
      if (isOver) throw new Error(`mesh-proxy did not start\n${said}`);
    }
    return new MeshProxy(child, () => said);
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** What it has written on stderr. */
  get said(): string {
    return this.#said();
  }

  /** Of the listener of that name. */
  port(listener: string): number {
    const found = new RegExp(`^ {2}${listener} +\\S+:(\\d+)`, "m").exec(this.said);
    if (found === null) throw new Error(`mesh-proxy has no listener ${listener}\n${this.said}`);
    return Number(found[1]);
  }

  /** `VmRSS`: what it has now; `VmHWM`: the most since its start, or since `forgetPeak`. */
  rssMb(which: "VmRSS" | "VmHWM" = "VmRSS"): number {
    const text = readFileSync(`/proc/${this.pid}/status`, "utf8");
    return Number(new RegExp(`${which}:\\s+(\\d+)`).exec(text)![1]) / 1_024;
  }

  /** What is alive on its heap and in buffers, once all garbage has been collected. */
  async liveMb(): Promise<number> {
    const { stderr } = this.child;
    let said = "";
    const { promise, resolve } = Promise.withResolvers<number>();
    const look = (chunk: Buffer): void => {
      said += chunk.toString();
      const bytes = /^live heap (\d+)\n/m.exec(said)?.[1];
      if (bytes !== undefined) resolve(Number(bytes));
    };
    stderr!.on("data", look);
    this.child.kill("SIGUSR2");
    try {
      return (await promise) / 1_048_576;
    } finally {
      stderr!.off("data", look);
    }
  }

  forgetPeak(): void {
    writeFileSync(`/proc/${this.pid}/clear_refs`, "5");
  }

  /** Its exit code. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | null> {
    const { child } = this;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const ended = once(child, "exit");
    child.kill(signal);
    const [code] = (await ended) as [number | null];
    return code;
  }
}

/** At once, as editors and Kubernetes do. */
export function replace(file: string, config: object): void {
  writeFileSync(`${file}.new`, JSON.stringify(config));
  renameSync(`${file}.new`, file);
}
