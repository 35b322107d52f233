/** The process around a command: its signals, its streams, its exit code, and what it says of a defect of ours. */
import { CLOCK } from "./clock.ts";
import type { Context } from "./command.ts";
import { EXIT, type ExitCode } from "./failure.ts";
import { Output } from "./output.ts";
import { OLDEST_NODE } from "./version.ts";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export interface Program {
  /** As it is called. */
  readonly name: string;
  /** It goes on when nothing reads its standard output any more: of one that serves. Default: it ends. */
  readonly outlivesReader?: true;
  readonly main: (args: readonly string[], context: Context) => Promise<ExitCode>;
}

export async function program({ name, main, outlivesReader }: Program): Promise<void> {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major < OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor < OLDEST_NODE[1])) {
    process.stderr.write(
      `${name} needs Node ${OLDEST_NODE.join(".")} or newer, and this is Node ${process.version}: npm install node@24 puts one beside it, which npx then uses\n`,
    );
    process.exitCode = EXIT.defect;
    return;
  }
  // Who reads has enough, such as `head`: that is no error.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    if (outlivesReader !== true) process.exit();
  });
  process.stderr.on("error", () => {});
  const interruption = new Interruption();
  const output = new Output();
  // Also of what a timer calls. A terminal that was taken over is given back first, by its own listener.
  process.once("uncaughtException", (error) => {
    process.once("exit", () => reportDefect(name, error, output));
    process.exit(EXIT.defect);
  });
  try {
    process.exitCode = await main(process.argv.slice(2), {
      output,
      clock: CLOCK,
      env: process.env,
      // Node makes a pipe non-blocking when it is asked for, and `check -` reads it as one that blocks.
      get stdin() {
        return process.stdin;
      },
      // While a listener stands, nothing but JavaScript ends the process, and `check -` runs none as it waits.
      get signal() {
        return interruption.signal;
      },
    });
  } catch (error) {
    process.exitCode = EXIT.defect;
    reportDefect(name, error, output);
  } finally {
    interruption.stop();
  }
}

/** Listens to signals from the moment on at which a command wants to know of them. */
class Interruption {
  readonly #controller = new AbortController();
  #isListening = false;

  get signal(): AbortSignal {
    if (!this.#isListening) for (const signal of SIGNALS) process.on(signal, this.#interrupt);
    this.#isListening = true;
    return this.#controller.signal;
  }

  stop(): void {
    for (const signal of SIGNALS) process.off(signal, this.#interrupt);
  }

  readonly #interrupt = (): void => {
    // The second time Node ends the process at once.
    this.stop();
    this.#controller.abort();
  };
}

/** A mistake of the user is answered by the command itself; this is one of ours. */
function reportDefect(name: string, error: unknown, output: Output): void {
  const shown = error instanceof Error ? (error.stack ?? error.message) : String(error);
  output.error(
    `This is a defect of ${name}. Please report it, with the command and these lines:\n${output.safeLines(shown)}`,
  );
}
