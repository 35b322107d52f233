/** What keeps the program from listening, with what to do and its exit code. */
import { ConfigError } from "@inmesh/core";
import { AdminError } from "inmesh";
import { EXIT, Failure, type ExitCode } from "inmesh/cli";
import { ListenError } from "../listen/listen-error.ts";
import { configFailure } from "./look.ts";

const EXIT_OF: Readonly<Record<ListenError["kind"], ExitCode>> = {
  taken: EXIT.conflict,
  denied: EXIT.denied,
  failed: EXIT.unreachable,
};

export function listenFailure(error: unknown): unknown {
  if (error instanceof ConfigError) return configFailure(error);
  if (error instanceof AdminError) {
    const of = ListenError.of(error.cause as Error, error.address);
    return new Failure(EXIT_OF[of.kind], { what: `--admin: ${of.message}`, next: of.hint }, error);
  }
  const all = error instanceof AggregateError ? (error.errors as unknown[]) : [error];
  const [first] = all;
  if (!(first instanceof ListenError)) return error;
  const what = all.map((one) => (one as Error).message).join("\n");
  return new Failure(EXIT_OF[first.kind], { what, next: first.hint }, error);
}
