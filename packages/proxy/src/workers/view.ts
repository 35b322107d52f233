/**
 * All workers as one process: what the API of the process that starts them shows. Each answer is made of those that the
 * workers give when it is asked for; nothing is kept but the counts of the last scrape.
 */
import type { Log, TapOptions } from "@inmesh/core";
import type {
  About,
  Answer,
  Check,
  Checks,
  Dump,
  Readiness,
  ReadinessReason,
  WorkerView,
} from "@inmesh/core/inspect";
import {
  InspectionError,
  mergeAnswers,
  MergedSeries,
  metricsPage,
  type AnswerOf,
  type MetricsPage,
} from "@inmesh/core/spi/inspect";
import type { Series } from "@inmesh/core/spi/telemetry";
import type { Runtime } from "@inmesh/core/spi/transport";
import type { AdminView, Asked, OpenTap } from "@inmesh/http/spi/admin";
import { MergedTap } from "./merged-tap.ts";
import type { Questions } from "./messages.ts";
import { SilentError, type Worker } from "./worker.ts";

/** Less than an orchestrator waits by default, which is 1 s. */
const READY_MS = 800;
/** Less than `inmesh` waits by default, which is 5 s, and Prometheus, which is 10 s. */
const ANSWER_MS = 2_000;
/** Kinds of discovery have 10 s for their checks. */
const CHECKS_MS = 12_000;
const MAX_TAPS = 8;

/** The checks that workers are looked at with, as docs/reference/checks.md has them. */
export const WORKER_CHECKS = ["workers-serving"] as const;

export interface ViewedWorkers {
  readonly all: readonly Worker[];
  /** All have served once. Until then those that start are waited for. */
  readonly haveServed: boolean;
  readonly isLeaving: boolean;
  /** Series of the process that starts them. */
  readonly series: () => readonly Series[];
}

export class WorkersView implements AdminView {
  readonly runtime: Runtime;
  readonly log: Log;
  readonly announcedIn: string | undefined;
  readonly #workers: ViewedWorkers;
  readonly #merged = new MergedSeries();
  readonly #taps = new Set<MergedTap>();
  #reading: Promise<Series[]> | undefined = undefined;

  constructor(workers: ViewedWorkers, runtime: Runtime, log: Log, announcedIn: string | undefined) {
    this.#workers = workers;
    this.runtime = runtime;
    this.log = log;
    this.announcedIn = announcedIn;
  }

  /** Taps that are open show its calls too. */
  joined(worker: Worker): void {
    for (const tap of this.#taps) tap.join(worker).catch(() => {});
  }

  /**
   * At the start all of them have to serve. Later those that do: while one is replaced its connections come to the
   * others, and a process that is not ready would lose all of them.
   */
  async ready(): Promise<Readiness> {
    const { haveServed, isLeaving } = this.#workers;
    const reasons = new Map<string, ReadinessReason>();
    const add = (server: string | undefined, reason: string): void =>
      void reasons.set(JSON.stringify([server, reason]), { server, reason });
    const answers = await this.#ask("ready", undefined, READY_MS);
    for (const { worker, answer } of answers) {
      if (answer !== undefined)
        for (const { server, reason } of answer.reasons) add(server, reason);
      // One that has ended while it was asked is being replaced.
      else if (worker.serving !== undefined) add(undefined, "no answer");
    }
    if (this.#serving.length === 0 || !haveServed) {
      add(undefined, isLeaving ? "closing" : "starting");
    }
    return { ready: reasons.size === 0, reasons: [...reasons.values()] };
  }

  async answer(asked: Asked): Promise<object> {
    const isSlow = asked.resource === "checks" || asked.resource === "dump";
    let refusal: InspectionError | undefined;
    const said = await this.#ask("api", asked, isSlow ? CHECKS_MS : ANSWER_MS, (error) => {
      refusal ??= error;
    });
    const answers = said.flatMap(({ worker, answer }): AnswerOf[] => {
      if (answer === undefined) return [];
      return [{ from: worker.name, answer: JSON.parse(Buffer.from(answer).toString()) as Answer }];
    });
    if (answers.length === 0) {
      throw (
        refusal ??
        new InspectionError(
          "not_available",
          "no worker answers",
          "look at the log: it says why workers end, and when others start",
        )
      );
    }
    const silent = new Set(
      said.flatMap(({ worker, isSilent }) => (isSilent ? [worker.number] : [])),
    );
    return this.#whole(mergeAnswers(answers), await this.ready(), silent);
  }

  async metrics(accept: string | undefined): Promise<MetricsPage> {
    const reading = (this.#reading ??= this.#read().finally(() => (this.#reading = undefined)));
    const series = await reading;
    return metricsPage({ metrics: () => series, runtime: this.runtime }, accept);
  }

  async tap(options: TapOptions): Promise<OpenTap> {
    if (this.#taps.size >= MAX_TAPS) {
      const message = `the workers have at most ${MAX_TAPS} taps at the same time`;
      throw new InspectionError("too_many_readers", message, "wait for one of them to end");
    }
    const { all } = this.#workers;
    const tap = new MergedTap(options, all.length, (one) => this.#taps.delete(one));
    this.#taps.add(tap);
    const joined = await Promise.allSettled(this.#serving.map((worker) => tap.join(worker)));
    const refused = joined.find((one) => one.status === "rejected" && !saysNothing(one.reason));
    if (refused === undefined) return tap;
    await tap.return();
    throw (refused as PromiseRejectedResult).reason;
  }

  /** Ends what would go on for as long as its reader does. */
  close(): void {
    for (const tap of this.#taps) void tap.return();
  }

  get #serving(): readonly Worker[] {
    return this.#workers.all.filter(({ serving }) => serving !== undefined);
  }

  async #read(): Promise<Series[]> {
    const readings = new Map<unknown, readonly Series[]>([[this, this.#workers.series()]]);
    const silent: unknown[] = [];
    const asked = this.#serving.map(({ process }) => process);
    const answers = await this.#ask("series", undefined, ANSWER_MS);
    for (const [i, { answer, isSilent: isNow }] of answers.entries()) {
      if (answer !== undefined) readings.set(asked[i], answer);
      else if (isNow && answers[i]!.worker.process === asked[i]) silent.push(asked[i]);
    }
    return this.#merged.add(readings, silent);
  }

  /** Of each worker that serves. `refused`: called with what those say who know that they cannot answer. */
  #ask<Name extends keyof Questions>(
    name: Name,
    asks: Questions[Name]["asks"],
    withinMs: number,
    refused: (error: InspectionError) => void = () => {},
  ): Promise<
    {
      readonly worker: Worker;
      readonly answer: Questions[Name]["answer"] | undefined;
      readonly isSilent: boolean;
    }[]
  > {
    return Promise.all(
      this.#serving.map(async (worker) => {
        try {
          return { worker, answer: await worker.ask(name, asks, withinMs), isSilent: false };
        } catch (error) {
          if (error instanceof InspectionError) refused(error);
          else if (!saysNothing(error)) throw error;
          return { worker, answer: undefined, isSilent: saysNothing(error) };
        }
      }),
    );
  }

  /** What no worker knows of itself. */
  #whole(answer: Answer, ready: Readiness, silent: ReadonlySet<number>): Answer {
    switch (answer.kind) {
      case "About":
        return this.#about(answer as About, ready, silent);
      case "Checks":
        return this.#checks(answer as Checks, silent);
      case "Dump": {
        const dump = answer as Dump;
        return {
          ...dump,
          about: this.#about(dump.about, ready, silent),
          checks: this.#checks(dump.checks, silent),
        } as Dump;
      }
      default:
        return answer;
    }
  }

  #about(about: About, ready: Readiness, silent: ReadonlySet<number>): About {
    const { rss, heapUsed } = process.memoryUsage();
    return {
      ...about,
      process: {
        ...about.process,
        pid: process.pid,
        uptimeMs: process.uptime() * 1_000,
        rssBytes: about.process.rssBytes + rss,
        heapUsedBytes: about.process.heapUsedBytes + heapUsed,
      },
      ready,
      workers: this.#workers.all.map((worker) => viewOf(worker, silent)),
    };
  }

  #checks(checks: Checks, silent: ReadonlySet<number>): Checks {
    const workers = this.#workers.all.map((worker) => viewOf(worker, silent));
    const not = workers.filter(({ state }) => state !== "serving");
    const isGood = not.length === 0;
    const check: Check = {
      id: WORKER_CHECKS[0],
      group: "workers",
      subject: undefined,
      status: isGood ? "ok" : "warning",
      message: isGood
        ? `all ${workers.length} serve`
        : `${not.length} of ${workers.length} ${not.length === 1 ? "does" : "do"} not serve: ${not
            .map(({ number, state }) => `worker ${number} is ${state}`)
            .join(", ")}`,
      hint: isGood
        ? undefined
        : "look for proxy.worker_ended in the log; one that is silent is busy, or has been stopped",
      page: `docs/reference/checks.md#${WORKER_CHECKS[0]}`,
    };
    const status = checks.status === "ok" ? check.status : checks.status;
    return {
      ...checks,
      status,
      warnings: checks.warnings + (isGood ? 0 : 1),
      checks: [check, ...checks.checks],
    };
  }
}

function viewOf(worker: Worker, silent: ReadonlySet<number>): WorkerView {
  const { number, pid, serving, restarts, restartsInMs } = worker;
  const state =
    restartsInMs !== undefined
      ? "ended"
      : serving === undefined
        ? "starting"
        : silent.has(number)
          ? "silent"
          : "serving";
  return { number, pid, state, restarts, restartsInMs };
}

function saysNothing(error: unknown): boolean {
  return error instanceof SilentError;
}
