/** A process under attack: started, asked, watched, and started again after it ended. */
import { fork, type ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Question, Settled, Message } from "../child/hostile-watched.ts";
import { isCalm, noteBare, stretched } from "./load.ts";

const FLAGS = [
  // Garbage is no growth that an input caused. V8 lets it grow by how busy the machine is: by 50 MB from one
  // run to the next of the same inputs. So the heap may grow by a tenth beyond what is alive, in both processes.
  "--max-semi-space-size=4",
  "--heap-growing-percent=10",
  "--no-warnings",
  "--expose-gc",
  "--conditions=inmesh-source",
  "--max-old-space-size=768",
];
const START_WITHIN_MS = 60_000;
/** Processes that start at a time: all of them at once would take the machine for half a minute. */
const STARTS_AT_ONCE = 4;
const starting = new Set<Promise<void>>();
/** A process that answers nothing so long does nothing else either. */
const ANSWER_WITHIN_MS = 15_000;
const CALM_WITHIN_MS = 10_000;
const CALM_POLL_MS = 200;

/** MB that processes under attack grew by. */
export interface Grown {
  /** The most at any time. */
  readonly mostMb: number;
  /** What is alive at the end, after a garbage collection; undefined: it did not answer. */
  readonly keptMb: number | undefined;
}

export type FaultKind = "crash" | "unhandled" | "hung";

/** Of a process that answers nothing any more; -Infinity where the system does not say it in a file. */
function peakMbOf(pid: number): number {
  try {
    const [, kb] = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
    return kb === undefined ? -Infinity : Number(kb) / 1_024;
  } catch {
    return -Infinity;
  }
}

export class Target {
  /** Of a server, the port it listens on. */
  port = 0;
  readonly #script: string;
  readonly #args: readonly string[];
  readonly #fault: (kind: FaultKind, text: string) => void;
  #process: ChildProcess | undefined = undefined;
  #starting: Promise<void> | undefined = undefined;
  #questions = new Map<number, (value: unknown) => void>();
  #next = 0;
  /** The process's memory in MB before the attack, and the most that processes before it grew by. */
  #settledMb = 0;
  #grownMb = 0;
  /** What was alive before the attack. */
  #startedMb = 0;

  /** `script`: a file URL. `fault` hears of everything that must not happen. */
  constructor(
    script: URL,
    args: readonly string[],
    fault: (kind: FaultKind, text: string) => void,
  ) {
    this.#script = fileURLToPath(script);
    this.#args = args;
    this.#fault = fault;
  }

  /** Started, if it is not. */
  start(): Promise<void> {
    return (this.#starting ??= this.#startInTurn());
  }

  async #startInTurn(): Promise<void> {
    while (starting.size >= STARTS_AT_ONCE) await Promise.race(starting).catch(() => {});
    const started = this.#start();
    starting.add(started);
    await started.finally(() => starting.delete(started));
  }

  async #start(): Promise<void> {
    this.#settledMb = 0;
    const child = fork(this.#script, [...this.#args], {
      execArgv: FLAGS,
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    this.#process = child;
    let said = "";
    child.stderr!.on("data", (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-2_000);
    });
    await new Promise<void>((resolve, reject) => {
      const late = setTimeout(
        () => reject(new Error(`${this.#script} does not start`)),
        START_WITHIN_MS,
      );
      child.on("message", (message) => {
        const news = message as Message;
        if ("ready" in news) {
          this.port = news.ready;
          clearTimeout(late);
          resolve();
        } else if ("fault" in news) this.#fault(news.fault, news.text);
        else {
          // With every answer, so that what a process grew by is known although it ended.
          if (this.#settledMb > 0)
            this.#grownMb = Math.max(this.#grownMb, news.peakMb - this.#settledMb);
          this.#questions.get(news.answer)?.(news.value);
          this.#questions.delete(news.answer);
        }
      });
      child.once("exit", (code, signal) => {
        clearTimeout(late);
        reject(new Error(`${this.#script} ended early: ${said}`));
        if (this.#process !== child) return;
        this.#process = undefined;
        this.#starting = undefined;
        for (const [, settle] of this.#questions) settle(undefined);
        this.#questions.clear();
        this.#fault("crash", `the process ended (${signal ?? code}): ${said}`);
      });
    });
    const settled = await this.ask<Settled>("settle", null);
    this.#settledMb = settled?.peakMb ?? 0;
    this.#startedMb = settled?.keptMb ?? 0;
  }

  /** Undefined: the process ended, or gave no answer in time, and has been ended for it. */
  async ask<T>(
    ask: string,
    about: unknown,
    withinMs: number = ANSWER_WITHIN_MS,
  ): Promise<T | undefined> {
    const child = this.#process;
    if (child === undefined || !child.connected) return undefined;
    const question = this.#next++;
    const askedAt = performance.now();
    let late: NodeJS.Timeout | undefined;
    const value = await new Promise<unknown>((resolve) => {
      this.#questions.set(question, resolve);
      const look = (): void => {
        // What measures the machine gets no more time by being slow.
        const allowedMs = this.#args[0] === "bare" ? withinMs : stretched(withinMs);
        const leftMs = askedAt + allowedMs - performance.now();
        if (leftMs > 0) {
          late = setTimeout(look, leftMs);
          return;
        }
        this.#questions.delete(question);
        if (this.#process === child) {
          this.#fault("hung", `no answer to "${ask}" within ${allowedMs.toFixed(0)} ms`);
          const mb = peakMbOf(child.pid ?? 0) - this.#settledMb;
          this.#grownMb = Math.max(this.#grownMb, mb);
          this.kill();
        }
        resolve(undefined);
      };
      late = setTimeout(look, withinMs);
      child.send({ question, ask, about } satisfies Question, () => {});
    });
    clearTimeout(late);
    // What takes no time but the process's turn.
    if (this.#args[0] === "bare" && ask === "seen") noteBare(performance.now() - askedAt);
    return value as T | undefined;
  }

  /** Of it, or of one before it. */
  async grown(): Promise<Grown> {
    const settled = await this.ask<Settled>("settle", null);
    const keptMb = settled === undefined ? undefined : settled.keptMb - this.#startedMb;
    return { mostMb: this.#grownMb, keptMb };
  }

  /** Until it answers at once, or for some seconds: what is measured then is no busy machine's doing. */
  async calm(): Promise<void> {
    const startedAt = performance.now();
    while (performance.now() - startedAt < CALM_WITHIN_MS) {
      const askedAt = performance.now();
      await this.ask("alive", null);
      if (isCalm(performance.now() - askedAt)) return;
      await sleep(CALM_POLL_MS);
    }
  }

  kill(): void {
    const child = this.#process;
    this.#process = undefined;
    this.#starting = undefined;
    child?.kill("SIGKILL");
    for (const [, settle] of this.#questions) settle(undefined);
    this.#questions.clear();
  }

  /** Closed as a process is that is asked to stop: this must come to an end. */
  async end(): Promise<void> {
    await this.ask("close", null);
    this.kill();
  }
}
