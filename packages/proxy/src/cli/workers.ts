/**
 * `--workers`: several processes that share the ports by SO_REUSEPORT, and one that starts them, passes signals on,
 * starts another one for each that ends unasked, and shows all of them as one. It has no connection and no mesh of its own.
 */
import { isSea } from "node:sea";
import type { Log } from "@inmesh/core";
import { registryPlace } from "@inmesh/core/spi/inspect";
import { Recorder, type Counter } from "@inmesh/core/spi/telemetry";
import { NodeRuntime } from "@inmesh/core/spi/transport";
import { openListener, type AdminListener } from "@inmesh/http/spi/admin";
import { EXIT, type Context, type ExitCode } from "inmesh/cli";
import { measureWorkers } from "../workers/measure.ts";
import { WorkersView } from "../workers/view.ts";
import { Worker, type WorkerEnd } from "../workers/worker.ts";
import { adminOptions, logTo, shownAdmin } from "./admin.ts";
import { banner } from "./banner.ts";
import { listenFailure } from "./listen-failure.ts";
import { WORKER, type Settings } from "./settings.ts";
import { Signals } from "./signals.ts";

/** Beyond the grace within which workers end by themselves: one that does not is stopped or blocked. */
const BEYOND_GRACE_MS = 2_000;
/** Of a worker that has not said how long it takes. */
const DEFAULT_GRACE_MS = 25_000;

export async function supervise(settings: Settings, context: Context): Promise<ExitCode> {
  // First, so that one that comes while everything is opened is not lost.
  const signals = new Signals();
  const crew = new Crew(settings, context);
  let admin: AdminListener | undefined;
  try {
    admin = await crew.listen();
  } catch (error) {
    signals.stop();
    throw listenFailure(error);
  }
  try {
    crew.start();
    void signals.first.then(({ isUrgent }) => crew.leave(isUrgent ? "SIGINT" : "SIGTERM"));
    void signals.second.then(() => crew.kill(EXIT.interrupted));
    return await crew.ended;
  } finally {
    await admin?.close(0);
    signals.stop();
  }
}

class Crew {
  readonly ended: Promise<ExitCode>;
  readonly all: readonly Worker[];
  haveServed = false;
  isLeaving = false;
  readonly #ended = Promise.withResolvers<ExitCode>();
  readonly #settings: Settings;
  readonly #context: Context;
  readonly #runtime = new NodeRuntime();
  readonly #log: Log;
  readonly #recorder = new Recorder(this.#runtime);
  readonly #endings: Counter;
  readonly #view: WorkersView;
  #admin: AdminListener | undefined = undefined;
  #exit: ExitCode = EXIT.ok;

  constructor(settings: Settings, context: Context) {
    this.#settings = settings;
    this.#context = context;
    this.ended = this.#ended.promise;
    this.#log = logTo(settings, context) ?? (() => {});
    const { command, args } = ownCommand();
    this.all = Array.from(
      { length: settings.workers },
      (_, i) =>
        new Worker({
          number: i + 1,
          runtime: this.#runtime,
          command,
          args,
          env: { ...context.env, [WORKER]: String(i + 1) },
          onServing: (worker) => this.#serves(worker),
          onEnd: (worker, end) => this.#lost(worker, end),
        }),
    );
    this.#view = new WorkersView(
      this,
      this.#runtime,
      this.#log,
      registryPlace(undefined, context.env).dir,
    );
    this.#endings = measureWorkers(this.#recorder, this.all);
  }

  readonly series = (): ReturnType<Recorder["read"]> => this.#recorder.read();

  /** Rejects as `mesh.admin.listen` does. Undefined: none is asked for. */
  async listen(): Promise<AdminListener | undefined> {
    const { admin } = this.#settings;
    if (admin === undefined) return undefined;
    return (this.#admin = await openListener(this.#view, adminOptions(admin), () => {}));
  }

  /** The first one alone: what keeps it from serving keeps the others too, and is to be said once. */
  start(): void {
    this.all[0]!.start();
  }

  /** Workers end by themselves within their grace. */
  leave(signal: NodeJS.Signals, exit: ExitCode = EXIT.ok): void {
    this.isLeaving = true;
    this.#exit = exit;
    const graces = this.all.map(
      ({ serving }) => this.#settings.drainGraceMs ?? serving?.drainGraceMs ?? DEFAULT_GRACE_MS,
    );
    const late = this.#runtime.after(
      Math.max(...graces) + BEYOND_GRACE_MS,
      () => this.kill(EXIT.ok),
      undefined,
      true,
    );
    void Promise.all(this.all.map((worker) => worker.leave(signal))).then(() => {
      late.cancel();
      this.#view.close();
      this.#ended.resolve(this.#exit);
    });
  }

  /** Of those that are leaving. */
  kill(exit: ExitCode): void {
    this.#exit = exit;
    for (const worker of this.all) void worker.leave("SIGKILL");
  }

  #serves(worker: Worker): void {
    this.#view.joined(worker);
    if (this.haveServed || this.isLeaving) return;
    // Those beside the first one, once it serves.
    for (const other of this.all) if (other.isNew) other.start();
    if (this.all.some(({ serving }) => serving === undefined)) return;
    this.haveServed = true;
    const { output } = this.#context;
    if (this.#settings.log === "none") return;
    const { listeners, services } = worker.serving!;
    const admin = shownAdmin(this.#admin, this.#settings);
    // Readers of JSON want nothing else there.
    if (this.#settings.log === "text") {
      output.error(banner(listeners, services, this.all.length, admin, output));
    }
    const token = this.#admin?.token;
    if (token !== undefined) output.hint(`  token ${token} (INMESH_ADMIN_TOKEN)`);
  }

  /** Whether another one is to start. */
  #lost(worker: Worker, { code, signal, served }: WorkerEnd): boolean {
    if (!served && !this.haveServed && worker.number === 1 && worker.restarts === 0) {
      // It has said itself what is wrong.
      const exit = (code ?? EXIT.defect) as ExitCode;
      this.leave("SIGTERM", exit);
      return false;
    }
    this.#endings.add(1);
    const how = signal ?? `exit code ${code}`;
    const message = `${worker.name} ended (${how}); another one starts in ${Math.round(worker.restartsInMs ?? 0)} ms`;
    this.#log({ level: "warn", event: "proxy.worker_ended", message });
    return true;
  }
}

/** By which this program was started. In a single executable there is no file between it and its arguments. */
function ownCommand(): { readonly command: string; readonly args: readonly string[] } {
  const [, program = "", ...args] = process.argv;
  return {
    command: process.execPath,
    args: isSea() ? args : [...process.execArgv, program, ...args],
  };
}
