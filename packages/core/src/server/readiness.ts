/**
 * Whether requests should come to a server, whatever the protocol asks with. A draining server is alive
 * and not ready, and so is an overloaded one: restarting it would not help.
 */
import type { Admission } from "./admission.ts";
import type { Drain } from "./drain.ts";

export class Readiness {
  readonly #admission: Admission;
  readonly #drain: Drain;
  readonly #problem: () => string | undefined;

  /** `problem`: what else keeps it from serving; undefined: nothing. */
  constructor(admission: Admission, drain: Drain, problem: () => string | undefined) {
    this.#admission = admission;
    this.#drain = drain;
    this.#problem = problem;
  }

  /** `ok`, or why not. */
  get state(): string {
    if (this.#drain.state !== "open") return this.#drain.state;
    return this.#problem() ?? (this.#admission.overloaded ? "overloaded" : "ok");
  }
}

/** The application's own condition. Its failure is an answer, and no reason for this process to end. */
export function isMet(condition: (() => boolean) | undefined): boolean {
  if (condition === undefined) return true;
  try {
    return condition();
  } catch {
    return false;
  }
}
