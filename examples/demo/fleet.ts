/**
 * The five server processes: started, hurt, killed and started again on the same port. `stop()`
 * ends them all, and so does the end of this process, in whichever way it comes.
 */
import { fork, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { FromServer, Mode } from "./server.ts";

const SERVER = fileURLToPath(new URL("./server.ts", import.meta.url));
/** Below the ports that outgoing connections get: a dead server's port must stay free for it. */
const FIRST_PORT = 20_000;
const PORTS = 12_000;
const TRIES = 50;

export class Fleet {
  readonly ports: number[] = [];
  /** How often the servers have seen each POST, by its request id. */
  readonly posts = new Map<string, number>();
  readonly #children: (ChildProcess | undefined)[] = [];
  readonly #graceful: boolean;
  readonly #registry: string | undefined;
  #stopped = false;

  private constructor(graceful: boolean, registry: string | undefined) {
    this.#graceful = graceful;
    this.#registry = registry;
  }

  /** `registry`: the directory in which graceful servers announce themselves; undefined: they do not. */
  static async start(size: number, graceful: boolean, registry?: string): Promise<Fleet> {
    const fleet = new Fleet(graceful, registry);
    process.once("exit", () => fleet.stop());
    for (let i = 0; i < size; i++) await fleet.#startAnywhere(i);
    return fleet;
  }

  get addresses(): string[] {
    return this.ports.map((port) => `127.0.0.1:${port}`);
  }

  alive(i: number): boolean {
    return this.#children[i] !== undefined;
  }

  mode(i: number, mode: Mode): void {
    this.#children[i]?.send(mode, () => {});
  }

  /** Sends the signal and waits until the process is gone. */
  async end(i: number, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const child = this.#children[i];
    if (child === undefined) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await gone;
  }

  /** Starts a server again on the port it had. */
  async restart(i: number): Promise<void> {
    for (let tries = 0; tries < TRIES && !this.#stopped; tries++) {
      if (await this.#start(i, this.ports[i]!)) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    if (!this.#stopped) throw new Error(`server ${i + 1} did not get its port back`);
  }

  stop(): void {
    this.#stopped = true;
    for (const child of this.#children) child?.kill("SIGKILL");
  }

  async #startAnywhere(i: number): Promise<void> {
    for (let tries = 0; tries < TRIES && !this.#stopped; tries++) {
      const port = FIRST_PORT + Math.floor(Math.random() * PORTS);
      if (this.ports.includes(port) || !(await this.#start(i, port))) continue;
      this.ports[i] = port;
      return;
    }
    throw new Error(`found no free port for server ${i + 1}`);
  }

  /** Resolves when the server listens (true) or has ended without (false). */
  #start(i: number, port: number): Promise<boolean> {
    if (this.#stopped) return Promise.resolve(false);
    const child = fork(SERVER, [String(port), this.#graceful ? "graceful" : "plain"], {
      execArgv: ["--disable-warning=ExperimentalWarning", "--conditions=inmesh-source"],
      stdio: ["ignore", "ignore", "inherit", "ipc"],
      env: { ...process.env, INMESH_REGISTRY: this.#registry ?? "off" },
    });
    this.#children[i] = child;
    return new Promise((resolve, reject) => {
      child.on("message", (message) => {
        const news = message as FromServer;
        if (news.type === "post") this.posts.set(news.id, (this.posts.get(news.id) ?? 0) + 1);
        else if (news.type === "listening") resolve(true);
      });
      child.once("error", reject);
      child.once("exit", () => {
        if (this.#children[i] === child) this.#children[i] = undefined;
        resolve(false);
      });
    });
  }
}
