/** What others in this process have begun since a moment, and not finished: whether there is still something to wait for. */
import { AsyncLocalStorage, createHook, type AsyncHook } from "node:async_hooks";

/**
 * Those of a turn of the event loop end with it, and an open file is nothing to wait for: what is done in the one and
 * with the other is noticed by itself.
 */
const PASSING: ReadonlySet<string> = new Set([
  "PROMISE",
  "TickObject",
  "Microtask",
  "Immediate",
  "FILEHANDLE",
]);
/** They are over when they have been answered, such as FSREQCALLBACK and TCPCONNECTWRAP. */
const REQUEST = /REQ|WRAP$/;

/** Handles and timers have it; requests, such as those of files, keep the process until they are answered. */
interface Resource {
  hasRef?(): boolean;
}

interface Begun {
  readonly isRequest: boolean;
  readonly resource: Resource;
}

/**
 * Hooks of async_hooks make every promise slower, so it is for the end of a process. It sees only what begins after it:
 * at `beforeExit` there is nothing else.
 */
export class BegunWork {
  readonly #own = new AsyncLocalStorage<true>();
  readonly #begun = new Map<number, Begun>();
  readonly #hook: AsyncHook = createHook({
    init: (id, type, _trigger, resource) => {
      if (PASSING.has(type) || this.#own.getStore() === true) return;
      const isRequest = REQUEST.test(type) && !("hasRef" in resource);
      this.#begun.set(id, { isRequest, resource });
    },
    // A timer that repeats is not over then, nor is a connection.
    after: (id) => {
      if (this.#begun.get(id)?.isRequest === true) this.#begun.delete(id);
    },
    destroy: (id) => this.#begun.delete(id),
  });

  constructor() {
    this.#hook.enable();
  }

  /** What `run` begins is not counted. */
  except<T>(run: () => T): T {
    return this.#own.run(true, run);
  }

  /** Something that keeps the process alive. */
  get isThere(): boolean {
    for (const { resource } of this.#begun.values()) if (resource.hasRef?.() ?? true) return true;
    return false;
  }

  stop(): void {
    this.#hook.disable();
    this.#begun.clear();
  }
}
