/**
 * The lines about one subject, such as the breakers of a service: at most so many a minute, so that what flaps
 * does not flood the log. What was left out is counted. The count is written with how things are then, when
 * the minute is over, because the last change may be among what was left out; where there is no such state,
 * it is written before the next line.
 */
import { type Log, LOG_EVENTS, type LogEvent, type LogLine } from "./log.ts";
import type { Runtime, Timer } from "./runtime/runtime.ts";

/** Default, in a minute. */
const MAX_LINES = 20;
const WINDOW_MS = 60_000;

/** Called for every line that a log has left out. */
const omitted = new WeakMap<Log, () => void>();

/** `count` is called for each line that is left out of `log` from now on. */
export function countOmitted(log: Log, count: () => void): void {
  omitted.set(log, count);
}

export class LimitedLog {
  readonly #log: Log;
  readonly #runtime: Runtime;
  readonly #service: string;
  /** How things are, for the line that says how many were left out. */
  readonly #state: (() => string) | undefined;
  readonly #maxLines: number;
  #windowAt = -Infinity;
  #written = 0;
  #omitted = 0;
  /** Armed while something was left out. */
  #timer: Timer | undefined = undefined;

  constructor(
    log: Log,
    runtime: Runtime,
    service: string,
    state?: () => string,
    maxLines: number = MAX_LINES,
  ) {
    this.#log = log;
    this.#runtime = runtime;
    this.#service = service;
    this.#state = state;
    this.#maxLines = maxLines;
  }

  /** `message` is asked only if the line is written. */
  write(event: LogEvent, message: () => string, endpoint?: string): void {
    const now = this.#runtime.now();
    if (now - this.#windowAt >= WINDOW_MS) {
      this.#flush();
      this.#windowAt = now;
      this.#written = 0;
    }
    if (this.#written >= this.#maxLines) {
      this.#omitted++;
      omitted.get(this.#log)?.();
      if (this.#state === undefined) return;
      const leftMs = this.#windowAt + WINDOW_MS - now;
      this.#timer ??= this.#runtime.after(leftMs, () => this.#flush(), undefined);
      return;
    }
    this.#written++;
    const about = endpoint === undefined ? {} : { endpoint };
    this.#say({ ...about, event, message: message() });
  }

  close(): void {
    this.#flush();
  }

  #flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#omitted === 0) return;
    const lines = this.#omitted === 1 ? "a line was" : `${this.#omitted} lines were`;
    const now = this.#state === undefined ? "" : `; now ${this.#state()}`;
    const message = `${lines} left out, beyond ${this.#maxLines} a minute${now}`;
    this.#omitted = 0;
    this.#say({ event: "log.omitted", message });
  }

  #say(line: Pick<LogLine, "event" | "message" | "endpoint">): void {
    const service = this.#service;
    const message = `${service}: ${line.message}`;
    this.#log({ level: LOG_EVENTS[line.event], ...line, service, message });
  }
}

/** Of a subject that is no service: its lines name it, and have no `service`. */
export function linesAbout(
  name: string,
  log: Log,
  runtime: Runtime,
  maxLines?: number,
): LimitedLog {
  const own: Log = (line) => log({ ...line, service: undefined });
  const count = omitted.get(log);
  if (count !== undefined) omitted.set(own, count);
  return new LimitedLog(own, runtime, name, undefined, maxLines);
}
