/**
 * A real Prometheus in a process of its own, for the demo, the picture of the README and the tests: it scrapes
 * what it is given each second, keeps exemplars, and forgets everything when it is stopped.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freeAddress } from "../scripts/free-port.ts";

export interface PrometheusOptions {
  /** Default: `prometheus` on the PATH. */
  readonly program?: string;
  /** `host:port` by the name of its job. */
  readonly targets: Readonly<Record<string, string>>;
  /** How often it scrapes, and evaluates rules whose group says nothing else. Default 1,000. */
  readonly intervalMs?: number;
  /** Paths of rule files. */
  readonly rules?: readonly string[];
}

export type Value = readonly [seconds: number, value: string];

export interface Answer {
  readonly metric: Readonly<Record<string, string>>;
  /** Of a query at one instant. */
  readonly value?: Value;
  /** Of a query over a range. */
  readonly values?: readonly Value[];
}

export interface Range {
  /** In seconds since 1970, as Prometheus counts. */
  readonly start: number;
  readonly end: number;
  readonly stepSeconds: number;
}

const READY_WITHIN_MS = 30_000;
const ASK_EVERY_MS = 50;
const STOP_WITHIN_MS = 5_000;

export class PrometheusError extends Error {
  override readonly name = "PrometheusError";
}

export class Prometheus implements AsyncDisposable {
  readonly address: string;
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #kill: () => void;

  private constructor(address: string, child: ChildProcess, folder: string) {
    this.address = address;
    this.#child = child;
    this.#folder = folder;
    // A process that ends in the middle leaves none behind.
    this.#kill = () => void child.kill("SIGKILL");
    process.once("exit", this.#kill);
  }

  /**
   * Resolves when it has scraped every target once, which takes it five seconds. Throws a PrometheusError if
   * there is none, if it ends at once, or if a target gives it nothing.
   */
  static async start(options: PrometheusOptions): Promise<Prometheus> {
    const { program = "prometheus", targets, intervalMs = 1_000, rules = [] } = options;
    const folder = mkdtempSync(join(tmpdir(), "inmesh-prometheus-"));
    const every = `${intervalMs}ms`;
    const config = {
      global: { scrape_interval: every, scrape_timeout: every, evaluation_interval: every },
      rule_files: rules,
      scrape_configs: Object.entries(targets).map(([job, target]) => ({
        job_name: job,
        static_configs: [{ targets: [target] }],
      })),
    };
    const file = join(folder, "prometheus.yml");
    writeFileSync(file, JSON.stringify(config));
    const address = await freeAddress();
    const child = spawn(
      program,
      [
        `--config.file=${file}`,
        `--storage.tsdb.path=${join(folder, "data")}`,
        `--web.listen-address=${address}`,
        "--enable-feature=exemplar-storage",
        "--log.level=error",
      ],
      // Ctrl-C goes to the whole group of a terminal: this process decides when it ends.
      { stdio: ["ignore", "ignore", "pipe"], detached: true },
    );
    let said = "";
    child.stderr
      .setEncoding("utf8")
      .on("data", (text: string) => (said = (said + text).slice(-2_000)));
    let why: string | undefined;
    child.once("error", ({ message }) => (why = message));
    child.once("exit", (code) => (why ??= `it ended with code ${code}: ${said.trim()}`));
    const prometheus = new Prometheus(address, child, folder);
    for (const before = Date.now(); ; await sleep(ASK_EVERY_MS)) {
      if (Date.now() - before > READY_WITHIN_MS) why ??= "it has not scraped its targets";
      if (why !== undefined) {
        await prometheus.stop();
        throw new PrometheusError(`${program} did not start: ${why}`);
      }
      // Refused until it listens, and an error until it is ready.
      const up = await prometheus.ask("sum(up)").catch(() => []);
      if (Number(up[0]?.value?.[1]) === Object.keys(targets).length) return prometheus;
    }
  }

  /** What a query gives now, or at `at`, in seconds since 1970. */
  async ask(query: string, at?: number): Promise<readonly Answer[]> {
    return this.#get("query", { query, ...(at === undefined ? {} : { time: String(at) }) });
  }

  async askRange(query: string, { start, end, stepSeconds }: Range): Promise<readonly Answer[]> {
    const range = { start: String(start), end: String(end), step: String(stepSeconds) };
    return this.#get("query_range", { query, ...range });
  }

  /** Anything else of its API, such as `metadata`. */
  async get(path: string, parameters: Readonly<Record<string, string>> = {}): Promise<unknown> {
    const url = `http://${this.address}/api/v1/${path}?${new URLSearchParams(parameters)}`;
    const reply = (await (await fetch(url)).json()) as { error?: string; data: unknown };
    if (reply.error !== undefined) throw new PrometheusError(`${reply.error}, asked ${url}`);
    return reply.data;
  }

  async #get(
    path: string,
    parameters: Readonly<Record<string, string>>,
  ): Promise<readonly Answer[]> {
    const data = (await this.get(path, parameters)) as { result: unknown; resultType: string };
    if (data.resultType === "scalar") return [{ metric: {}, value: data.result as Value }];
    return data.result as readonly Answer[];
  }

  /** Ends it and removes what it has stored. */
  async stop(): Promise<void> {
    process.off("exit", this.#kill);
    const { pid, exitCode, signalCode } = this.#child;
    if (pid !== undefined && exitCode === null && signalCode === null) {
      const ended = once(this.#child, "exit");
      this.#child.kill("SIGTERM");
      const giveUp = setTimeout(() => this.#child.kill("SIGKILL"), STOP_WITHIN_MS);
      await ended;
      clearTimeout(giveUp);
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
