/**
 * One of several workers: the process that serves in its place, and another one after it has ended unasked. What is
 * asked of it has an end: the answer, the end of that process, or the time that the asker has.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { InspectionError } from "@inmesh/core/spi/inspect";
import type { Runtime, Timer } from "@inmesh/core/spi/transport";
import type { Question, QuestionName, Questions, Reply, Serving } from "./messages.ts";

/** Between the end of a worker and the next one in its place; doubled for each that has not come to serve. */
const RESTART_MS = 1_000;
const MAX_RESTART_MS = 30_000;
/** Of one that does not answer any more: further questions would pile up in its channel. */
const MAX_UNANSWERED = 128;

/** How it ended. */
export interface WorkerEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** It had come to serve. */
  readonly served: boolean;
}

export interface WorkerOptions {
  /** From 1. */
  readonly number: number;
  readonly runtime: Runtime;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** It says what it serves, also for the second time. */
  readonly onServing: (worker: Worker) => void;
  /** Unasked. Gives whether another one is to start. */
  readonly onEnd: (worker: Worker, end: WorkerEnd) => boolean;
}

/** There is no process that could answer, or it says nothing. */
export class SilentError extends Error {}

interface Waiting {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly timer: Timer | undefined;
}

export class Worker {
  readonly number: number;
  /** What the process that runs serves; undefined: it has not begun to. */
  serving: Serving | undefined = undefined;
  /** Times that another process has started in its place. */
  restarts = 0;
  readonly #options: WorkerOptions;
  #process: ChildProcess | undefined = undefined;
  #failures = 0;
  #asked = 0;
  /** Questions that its process has not answered, also those whose time is over. */
  #unanswered = 0;
  readonly #waiting = new Map<number, Waiting>();
  #restart: Timer | undefined = undefined;
  #restartsAt = 0;
  #isLeaving = false;
  readonly #gone = Promise.withResolvers<void>();

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.number = options.number;
  }

  get name(): string {
    return `worker ${this.number}`;
  }

  /** It has never been started. */
  get isNew(): boolean {
    return this.#process === undefined && this.#restart === undefined && !this.#isLeaving;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Stands for the process that runs: another one in its place is another object. */
  get process(): object | undefined {
    return this.#process;
  }

  /** Until another one starts; undefined: none is to. */
  get restartsInMs(): number | undefined {
    if (this.#restart === undefined) return undefined;
    return Math.max(0, this.#restartsAt - this.#options.runtime.now());
  }

  start(): void {
    const { command, args, env } = this.#options;
    this.#restart = undefined;
    const child = spawn(command, args, {
      env,
      stdio: ["inherit", "inherit", "inherit", "ipc"],
      serialization: "advanced",
    });
    this.#process = child;
    child.on("message", (message: Serving | Reply) => {
      // What it has said may be read when it has ended already, and another one has been counted on.
      if (this.#process !== child) return;
      if (message.what !== "serving") return this.#replied(message);
      this.serving = message;
      this.#failures = 0;
      this.#options.onServing(this);
    });
    // A process that could not be made has no exit.
    child.once("error", () => {
      if (child.pid === undefined) this.#ended(child, null, null);
    });
    child.once("exit", (code, signal) => this.#ended(child, code, signal));
  }

  /** Rejects with a SilentError if it does not answer within the time, and with an InspectionError that it answers. */
  ask<Name extends QuestionName>(
    name: Name,
    asks: Questions[Name]["asks"],
    withinMs?: number,
  ): Promise<Questions[Name]["answer"]> {
    const child = this.#process;
    if (child === undefined || this.serving === undefined || !child.connected) {
      return Promise.reject(new SilentError(`${this.name} does not run`));
    }
    if (this.#unanswered >= MAX_UNANSWERED) {
      return Promise.reject(new SilentError(`${this.name} does not answer`));
    }
    const number = ++this.#asked;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const late = (): void => {
      this.#waiting.delete(number);
      reject(new SilentError(`${this.name} has not answered within ${withinMs} ms`));
    };
    const timer =
      withinMs === undefined
        ? undefined
        : this.#options.runtime.after(withinMs, late, undefined, true);
    this.#waiting.set(number, { resolve, reject, timer });
    this.#unanswered++;
    const question: Question<Name> = { number, name, asks };
    // What cannot be sent is not answered: the process has ended, or is about to.
    child.send(question, () => {});
    return promise as Promise<Questions[Name]["answer"]>;
  }

  /** Resolves when its process has ended, and none comes after it. */
  leave(signal: NodeJS.Signals): Promise<void> {
    this.#isLeaving = true;
    this.#restart?.cancel();
    this.#restart = undefined;
    if (this.#process === undefined) this.#gone.resolve();
    else this.#process.kill(signal);
    return this.#gone.promise;
  }

  #ended(child: ChildProcess, code: number | null, signal: NodeJS.Signals | null): void {
    if (this.#process !== child) return;
    const served = this.serving !== undefined;
    this.#process = undefined;
    this.serving = undefined;
    this.#unanswered = 0;
    for (const { reject, timer } of this.#waiting.values()) {
      timer?.cancel();
      reject(new SilentError(`${this.name} has ended`));
    }
    this.#waiting.clear();
    if (this.#isLeaving) return this.#gone.resolve();
    const pauseMs = Math.min(MAX_RESTART_MS, RESTART_MS * 2 ** this.#failures);
    if (!served) this.#failures++;
    const { runtime, onEnd } = this.#options;
    this.#restartsAt = runtime.now() + pauseMs;
    this.#restart = runtime.after(
      pauseMs,
      () => {
        this.restarts++;
        this.start();
      },
      undefined,
      true,
    );
    if (!onEnd(this, { code, signal, served })) void this.leave("SIGTERM");
  }

  #replied(message: Reply): void {
    this.#unanswered--;
    const waiting = this.#waiting.get(message.number);
    if (waiting === undefined) return;
    this.#waiting.delete(message.number);
    waiting.timer?.cancel();
    if (message.what === "answer") return waiting.resolve(message.answer);
    const { code, message: text, hint } = message;
    waiting.reject(
      code === undefined
        ? new Error(`${this.name}: ${text}`)
        : new InspectionError(code, text, hint),
    );
  }
}
