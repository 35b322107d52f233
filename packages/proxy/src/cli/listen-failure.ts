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
/** The address for administration is shared by no other process. */
const ADMIN_TAKEN = "stop what listens there (ss -ltnp shows it), or choose another address";
/** Where the options come from that `--admin` and `--admin-token-file` become. */
const ADMIN_ORIGIN = "mesh.admin.listen";

export function listenFailure(error: unknown): unknown {
  if (error instanceof ConfigError) return adminFailure(error) ?? configFailure(error);
  if (error instanceof AdminError) {
    const { kind, message, hint } = ListenError.of(error.cause as Error, error.address);
    const next = kind === "taken" ? ADMIN_TAKEN : hint;
    return new Failure(EXIT_OF[kind], { what: `--admin: ${message}`, next }, error);
  }
  const all = error instanceof AggregateError ? (error.errors as unknown[]) : [error];
  const [first] = all;
  if (!(first instanceof ListenError)) return error;
  const what = all.map((one) => (one as Error).message).join("\n");
  return new Failure(EXIT_OF[first.kind], { what, next: first.hint }, error);
}

/** Undefined: it is about something else. */
function adminFailure(error: ConfigError): Failure | undefined {
  const mistake = error.mistakes.find(({ origin }) => origin === ADMIN_ORIGIN);
  if (mistake === undefined) return undefined;
  const { path, rule, value } = mistake;
  if (path !== "file")
    return new Failure(EXIT.failed, { what: `--admin ${value}: ${rule}` }, error);
  const next = rule.startsWith("cannot be written")
    ? "make the folder first, or name a file that this user may write to: one that is not there is made, with a new token"
    : "name a file that this user may read, with the token as its first line, or one that is not there: it is made, with a new token";
  return new Failure(EXIT.failed, { what: `--admin-token-file ${value}: ${rule}`, next }, error);
}
