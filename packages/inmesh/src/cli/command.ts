/** What a command is: a line of the table in commands.ts, and a function that is loaded when it is called. */
import type { Option, Options, Parsed, Positional } from "./arguments.ts";
import type { Clock } from "./clock.ts";
import type { ExitCode } from "./failure.ts";
import type { Output } from "./output.ts";

/** What a command may use of the process it runs in. */
export interface Context {
  readonly output: Output;
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Changes the standard input by being read: of commands that read keys alone. */
  readonly stdin: NodeJS.ReadStream;
  /** Aborts when the process is asked to end (SIGINT, SIGTERM, SIGHUP). */
  readonly signal: AbortSignal;
}

/** Gives the exit code. Throws a `Failure` for what is no result. */
export type Run<O extends Options> = (
  parsed: Parsed<O>,
  context: Context,
) => Promise<ExitCode> | ExitCode;

export interface Example {
  readonly line: string;
  readonly meaning: string;
}

export interface Command<O extends Options> {
  /** Begins with a small letter, without a full stop. */
  readonly summary: string;
  readonly positionals: readonly Positional[];
  readonly options: O;
  /** Sentences for help. */
  readonly more?: string;
  readonly examples: readonly Example[];
  readonly load: () => Promise<{ readonly run: Run<O> }>;
}

/** A command as the table has it: its options and its function fit each other, which `define` has checked. */
export interface AnyCommand extends Omit<Command<Options>, "load" | "options"> {
  readonly options: Readonly<Record<string, Option>>;
  readonly load: () => Promise<{ readonly run: Run<never> }>;
}

/** What help and completion read of it. */
export type CommandText = Omit<AnyCommand, "load">;

export function define<O extends Options>(command: Command<O>): AnyCommand {
  return command;
}
