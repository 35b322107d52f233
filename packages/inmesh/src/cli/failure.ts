/** Exit codes of every command, and the error that carries one to the end of the program. */

/** The same for all commands; docs/reference/cli.md explains each. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  unreachable: 3,
  denied: 4,
  timeout: 5,
  conflict: 6,
  /** EX_SOFTWARE of sysexits: none of the codes above is about a defect of the program itself. */
  defect: 70,
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export interface FailureText {
  /** What happened, as a sentence without its full stop. */
  readonly what: string;
  /** The cause, where it is known. */
  readonly why?: string | undefined;
  /** What to do about it. */
  readonly next?: string | undefined;
}

/** A command that cannot go on: its text is printed, and the process ends with `exit`. */
export class Failure extends Error {
  readonly exit: ExitCode;
  readonly text: FailureText;

  constructor(exit: ExitCode, text: FailureText, cause?: unknown) {
    super(text.what, cause === undefined ? undefined : { cause });
    this.name = "Failure";
    this.exit = exit;
    this.text = text;
  }
}

/** The process is not there, and may be a moment later: for who waits for it or watches it. */
export function mayCome(error: unknown): error is Failure {
  if (!(error instanceof Failure)) return false;
  return error.exit === EXIT.unreachable || error.exit === EXIT.timeout;
}

/** The command line itself is wrong: every mistake of it at once. */
export class UsageFailure extends Failure {
  readonly mistakes: readonly string[];

  constructor(mistakes: readonly string[]) {
    super(EXIT.usage, { what: mistakes.join("\n") });
    this.mistakes = mistakes;
  }
}
