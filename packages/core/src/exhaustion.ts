/** When this process has run out of sockets, dialling in a loop makes it no better (faults.md C16): dials pause. */
import { exhausted, isExhaustion, type Where } from "./connect-error.ts";
import type { MeshError } from "./errors.ts";
import type { Runtime } from "./runtime/runtime.ts";

const PAUSE_MS = 100;

/** Whether dials to one endpoint pause because the process has no sockets left. */
export class Exhaustion {
  readonly #runtime: Runtime;
  #pausedUntil = 0;
  #code = "";

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** A dial has failed; `code` says why. Without effect unless this process is what has run out. */
  note(code: unknown): void {
    if (!isExhaustion(code)) return;
    this.#code = String(code);
    this.#pausedUntil = this.#runtime.now() + PAUSE_MS;
  }

  /** `now`: on the clock of the runtime. Whether nothing should be dialled. */
  pauses(now: number): boolean {
    return now < this.#pausedUntil;
  }

  /** Why nothing is dialled, while it pauses. */
  refusal(where: Where): MeshError {
    return exhausted(where, this.#code)!;
  }
}
