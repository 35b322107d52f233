/** `mesh-proxy` as a process of its own, from its sources. */
import { spawn, type ChildProcess, type SpawnOptions } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

const RUN = join(import.meta.dirname, "../../src/cli/run.ts");

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

type Command = readonly [string, ...string[]];
type Within = (own: Command) => Command;

export class Program {
  stdout = "";
  stderr = "";
  readonly ended: Promise<Ended>;
  readonly child: ChildProcess;
  readonly #changed = new Set<() => void>();
  isEnded = false;

  /** `within`: gives the command that runs the one that it is given, such as in a namespace of its own. */
  constructor(
    args: readonly string[],
    { within = (own) => own, ...options }: SpawnOptions & { readonly within?: Within } = {},
  ) {
    const { env, ...rest } = options;
    const own = [process.execPath, "--conditions=inmesh-source", RUN, ...args] as const;
    const [command, ...rightly] = within(own);
    this.child = spawn(command, rightly, {
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        ...process.env,
        NO_COLOR: "1",
        NODE_OPTIONS: "",
        // Without it each start would strip the types of every file anew.
        NODE_COMPILE_CACHE: join(tmpdir(), "mesh-proxy-test-cache"),
        ...env,
      },
      ...rest,
    });
    this.child.stdout!.on("data", (chunk: Buffer) => {
      this.stdout += chunk.toString();
      this.#tell();
    });
    this.child.stderr!.on("data", (chunk: Buffer) => {
      this.stderr += chunk.toString();
      this.#tell();
    });
    this.ended = new Promise((resolve) => {
      this.child.once("close", (code, signal) => {
        this.isEnded = true;
        this.#tell();
        resolve({ code, signal });
      });
    });
    onTestFinished(async () => {
      this.child.kill("SIGKILL");
      await this.ended;
    });
  }

  /** Where the listener of that name listens, once the start has said so. */
  async address(listener: string): Promise<string> {
    const line = new RegExp(`^ {2}${listener} +(\\S+)`, "m");
    await this.until(() => line.test(this.stderr), `the address of ${listener}`);
    return line.exec(this.stderr)![1]!;
  }

  kill(signal: NodeJS.Signals = "SIGTERM"): this {
    this.child.kill(signal);
    return this;
  }

  /** Resolves when `condition` holds; rejects when the process ends before, or after a time that only a mistake takes. */
  until(condition: (program: this) => boolean, what = "what was waited for"): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (error?: string): void => {
        clearTimeout(timer);
        this.#changed.delete(look);
        if (error === undefined) resolve();
        else reject(new Error(`${error}: ${what} did not come\n${this.stderr}`));
      };
      const look = (): void => {
        if (condition(this)) settle();
        else if (this.isEnded) settle("the process has ended");
      };
      const timer = setTimeout(() => settle("timed out"), 60_000);
      this.#changed.add(look);
      look();
    });
  }

  #tell(): void {
    for (const look of this.#changed) look();
  }
}
