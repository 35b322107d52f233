/**
 * `--workers`: several processes that share the ports by SO_REUSEPORT, and one that starts them, passes signals on, and
 * starts another one for each that ends unasked. It has no connection and no mesh of its own.
 */
import { fork, type ChildProcess } from "node:child_process";
import { NodeRuntime } from "@inmesh/core/spi/transport";
import { EXIT, type Context, type ExitCode } from "inmesh/cli";
import { WORKER, type Settings } from "./settings.ts";
import { Signals } from "./signals.ts";

/** Between the end of a worker and the next one in its place; doubled for each that has not become ready. */
const RESTART_MS = 1_000;
const MAX_RESTART_MS = 30_000;

interface Worker {
  readonly number: number;
  process: ChildProcess | undefined;
  failures: number;
}

export async function supervise(
  { workers: count }: Settings,
  { env, output }: Context,
): Promise<ExitCode> {
  const runtime = new NodeRuntime();
  const signals = new Signals();
  const workers: Worker[] = Array.from({ length: count }, (_, i) => ({
    number: i + 1,
    process: undefined,
    failures: 0,
  }));
  const ended = Promise.withResolvers<ExitCode>();
  let isLeaving = false;
  let isStarted = false;

  const start = (worker: Worker): void => {
    let isReady = false;
    const [, program = "", ...args] = process.argv;
    const child = fork(program, args, { env: { ...env, [WORKER]: String(worker.number) } });
    worker.process = child;
    child.once("message", () => {
      isReady = isStarted = true;
      worker.failures = 0;
    });
    child.once("error", (error) => output.error(`worker ${worker.number}: ${error.message}`));
    child.once("exit", (code, signal) => {
      worker.process = undefined;
      if (isLeaving) {
        if (workers.every((one) => one.process === undefined)) ended.resolve(EXIT.ok);
        return;
      }
      // What keeps the first ones from starting keeps the others too.
      if (!isReady && !isStarted) {
        leave("SIGTERM");
        ended.resolve((code ?? EXIT.defect) as ExitCode);
        return;
      }
      const pauseMs = Math.min(MAX_RESTART_MS, RESTART_MS * 2 ** worker.failures);
      if (!isReady) worker.failures++;
      output.error(
        `worker ${worker.number} ended (${signal ?? `exit code ${code}`}); another one starts in ${pauseMs} ms`,
      );
      runtime.after(
        pauseMs,
        () => {
          if (!isLeaving) start(worker);
        },
        undefined,
        true,
      );
    });
  };

  const leave = (signal: NodeJS.Signals): void => {
    isLeaving = true;
    for (const { process: child } of workers) child?.kill(signal);
    if (workers.every((one) => one.process === undefined)) ended.resolve(EXIT.ok);
  };

  for (const worker of workers) start(worker);
  void signals.first.then(({ isUrgent }) => leave(isUrgent ? "SIGINT" : "SIGTERM"));
  // Workers end by themselves within their grace; a second signal ends them at once.
  const interrupted = signals.second.then((): ExitCode => {
    leave("SIGTERM");
    return EXIT.interrupted;
  });
  const exit = await Promise.race([ended.promise, interrupted]);
  signals.stop();
  return exit;
}
