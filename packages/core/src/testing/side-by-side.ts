/**
 * A layer for tests that runs two attempts of a call side by side. No policy: it starts the second as soon as it
 * is asked to, whatever that costs the servers.
 */
import type { Attempt, Reply } from "../call.ts";
import type { NoRetry } from "../errors.ts";
import type { Layer } from "../handler.ts";

export interface SideBySideOptions {
  /** When the second attempt starts. Default: in the turn of the first. */
  readonly second?: (first: Attempt) => Promise<unknown>;
  /** Called instead of a second attempt where there can be none. */
  readonly refused?: (why: NoRetry) => void;
}

/** The first reply that is a success is the call's; if there is none, what the last of the attempts got. */
export function sideBySide<Req, R extends Reply>({
  second,
  refused,
}: SideBySideOptions = {}): Layer<Attempt<Req>, R> {
  return (send) => (first) =>
    new Promise((resolve, reject) => {
      const { call } = first;
      let running = 0;
      let chosen = false;
      const run = (attempt: Attempt<Req>): void => {
        running++;
        send(attempt).then(
          (reply) => {
            running--;
            if (chosen || (reply.outcome !== "success" && running > 0)) return reply.discard();
            chosen = true;
            call.choose(attempt);
            resolve(reply);
          },
          (error: unknown) => {
            running--;
            if (chosen || running > 0) return;
            chosen = true;
            call.choose(attempt);
            reject(error);
          },
        );
      };
      const startSecond = (): void => {
        if (chosen) return;
        const attempt = first.beside();
        if (typeof attempt !== "string") return run(attempt);
        call.noRetry = attempt;
        refused?.(attempt);
      };
      run(first);
      if (second === undefined) startSecond();
      else void second(first).then(startSecond);
    });
}
