/** The two ways in which children make load: as many calls at a time, or as many per second. */

export interface ClosedLoop {
  readonly get: () => Promise<string>;
  /** What every reply must be. */
  readonly body: string;
  /** At a time. */
  readonly concurrency: number;
}

/** Makes `calls` calls, `concurrency` at a time; rejects with the first that fails. */
export async function atATime(
  concurrency: number,
  calls: number,
  call: () => Promise<void>,
): Promise<void> {
  let left = calls;
  const worker = async (): Promise<void> => {
    while (left-- > 0) await call();
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
}

/** `took` gets how long each call was, in milliseconds. */
export async function closedLoop(
  { get, body, concurrency }: ClosedLoop,
  calls: number,
  took: number[] = [],
): Promise<void> {
  await atATime(concurrency, calls, async () => {
    const before = performance.now();
    const text = await get();
    took.push(performance.now() - before);
    if (text !== body) throw new Error(`reply ${JSON.stringify(text.slice(0, 80))}`);
  });
}

/**
 * Begins `perSecond` calls a second, however long they take, until the parent sends a message. Then it
 * waits for those in progress and sends what `report` makes of the number of calls; the process ends.
 * `call` must not reject.
 */
export function openLoop(
  perSecond: number,
  call: (number: number) => Promise<void>,
  report: (calls: number) => Promise<object>,
): void {
  const everyMs = 1000 / perSecond;
  const startedAt = performance.now();
  const pending = new Set<Promise<void>>();
  let calls = 0;
  const timer = setInterval(() => {
    const due = Math.floor((performance.now() - startedAt) / everyMs);
    for (; calls < due; calls++) {
      const sent = call(calls);
      pending.add(sent);
      void sent.then(() => pending.delete(sent));
    }
  }, 1);
  process.once("message", () => {
    clearInterval(timer);
    void Promise.all(pending)
      .then(() => report(calls))
      .then((run) => process.send!(run, () => process.exit(0)));
  });
  process.once("disconnect", () => process.exit(0));
  process.send!("ready");
}
