/** The signals that ask the process to end: the first lets it leave, the second ends it. */

const SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP"] as const;

export interface EndAsked {
  /** A person waits at a terminal: callers get no time to notice. */
  readonly isUrgent: boolean;
}

export class Signals {
  readonly first: Promise<EndAsked>;
  readonly second: Promise<void>;
  readonly #first = Promise.withResolvers<EndAsked>();
  readonly #second = Promise.withResolvers<void>();
  readonly #isWorker: boolean;
  #count = 0;

  /**
   * `isWorker`: another process passes signals on. A terminal, or who ends a whole group, sends them to this one too; that
   * is no second signal, for which that process cares.
   */
  constructor(isWorker = false) {
    this.#isWorker = isWorker;
    this.first = this.#first.promise;
    this.second = this.#second.promise;
    for (const signal of SIGNALS) process.on(signal, this.#came);
  }

  /** As the first SIGTERM does. */
  leave(): void {
    this.#came("SIGTERM");
  }

  stop(): void {
    for (const signal of SIGNALS) process.off(signal, this.#came);
  }

  readonly #came = (signal: NodeJS.Signals): void => {
    this.#count++;
    if (this.#count === 1) this.#first.resolve({ isUrgent: signal === "SIGINT" });
    else if (!(this.#isWorker && process.connected)) this.#second.resolve();
  };
}
