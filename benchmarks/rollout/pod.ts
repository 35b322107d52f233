/** A pod, as the kubelet runs it: a server process on an address of its own, its readiness probe, and its end. */
import { fork, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { FLAGS, type FromServer } from "../fleet.ts";

const SERVER: string = fileURLToPath(new URL("../child/rollout-server.ts", import.meta.url));
const PROBE_TIMEOUT_MS = 1_000;
/** Of the code of all pods, so that one that starts takes little from those that serve. */
const COMPILED: string = mkdtempSync(join(tmpdir(), "inmesh-rollout-"));
process.once("exit", () => rmSync(COMPILED, { recursive: true, force: true }));

export interface PodOptions {
  readonly name: string;
  readonly uid: string;
  readonly address: string;
  readonly ports: { readonly http: number; readonly grpc: number };
  readonly probe: {
    readonly path: string;
    readonly periodMs: number;
    readonly failureThreshold: number;
  };
  /** From SIGTERM to SIGKILL. */
  readonly graceMs: number;
}

/** What happened to the pods of one run. */
export class Record {
  /** How often each POST and each call of gRPC has arrived, by its id. */
  readonly seen: Map<string, number> = new Map();
  started = 0;
  /** Processes that had to be killed, and those that ended by themselves. */
  killed = 0;
  crashed = 0;
  slowestEndMs = 0;
}

export class Pod {
  readonly options: PodOptions;
  isReady = false;
  isTerminating = false;
  readonly #record: Record;
  readonly #changed: () => void;
  #process: ChildProcess | undefined;
  #probe: NodeJS.Timeout | undefined;
  #failures = 0;

  /** `changed`: its readiness is another one. */
  constructor(options: PodOptions, record: Record, changed: () => void) {
    this.options = options;
    this.#record = record;
    this.#changed = changed;
  }

  start(): void {
    const { address, ports, probe } = this.options;
    this.#record.started++;
    const child = fork(SERVER, [JSON.stringify({ address, ports })], {
      execArgv: [...FLAGS],
      env: { ...process.env, NODE_COMPILE_CACHE: COMPILED },
    });
    this.#process = child;
    child.on("message", (message) => {
      const news = message as FromServer;
      if (!("ids" in news)) return;
      for (const id of news.ids) {
        this.#record.seen.set(id, (this.#record.seen.get(id) ?? 0) + 1);
      }
    });
    child.once("exit", () => {
      if (!this.isTerminating) this.#record.crashed++;
    });
    this.#look();
    this.#probe = setInterval(() => this.#look(), probe.periodMs);
  }

  /** SIGTERM, and until the process is gone. The probe goes on meanwhile, as the kubelet's does. */
  async terminate(): Promise<void> {
    this.isTerminating = true;
    const child = this.#process!;
    const { graceMs } = this.options;
    const startedAt = performance.now();
    if ((child.exitCode ?? child.signalCode) === null) {
      const gone = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGTERM");
      const late = setTimeout(() => {
        this.#record.killed++;
        child.kill("SIGKILL");
      }, graceMs);
      await gone;
      clearTimeout(late);
    }
    const tookMs = performance.now() - startedAt;
    this.#record.slowestEndMs = Math.max(this.#record.slowestEndMs, tookMs);
    this.stop();
  }

  stop(): void {
    this.isTerminating = true;
    clearInterval(this.#probe);
    this.#process?.kill("SIGKILL");
    this.#report(false);
  }

  #look(): void {
    const { address, ports, probe } = this.options;
    const { path, failureThreshold } = probe;
    const answered = (isGood: boolean): void => {
      this.#failures = isGood ? 0 : this.#failures + 1;
      if (isGood) this.#report(true);
      else if (this.#failures >= failureThreshold) this.#report(false);
    };
    const request = get(
      { host: address, port: ports.http, path, agent: false, timeout: PROBE_TIMEOUT_MS },
      (reply) => {
        reply.resume();
        answered(reply.statusCode === 200);
      },
    );
    request.on("timeout", () => request.destroy(new Error("timeout")));
    request.on("error", () => answered(false));
  }

  #report(isReady: boolean): void {
    if (this.isReady === isReady) return;
    this.isReady = isReady;
    this.#changed();
  }
}
