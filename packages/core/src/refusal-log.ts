/**
 * The lines of the log about refusals for load, at a server and at a client: the first one with its reason,
 * once a minute how many there were, and, when there has been none for 30 s, that it is over and how many
 * they were in all. What is not refused pays nothing.
 */
import { duration } from "./shown-time.ts";
import { type Log, LOG_EVENTS, safeLog } from "./log.ts";
import type { Runtime, Timer } from "./runtime/runtime.ts";

const LOG_EVERY_MS = 60_000;
/** A refusal that comes so long after the last one begins a new series of them. */
const QUIET_MS = 30_000;

export interface RefusalSubject {
  /** Of the server or service, at the beginning of each line. */
  readonly name: string;
  /** Whether the server refuses, or this process as a client of the service. */
  readonly side: "server" | "service";
  /** What is refused. */
  readonly noun: "request" | "call";
}

export class RefusalLog {
  readonly #subject: RefusalSubject;
  readonly #runtime: Runtime;
  #log: Log | undefined;
  /** Armed from the first refusal until there has been none for long enough. */
  #end: Timer | undefined = undefined;
  #beganAt = 0;
  #lastAt = 0;
  #loggedAt = 0;
  #total = 0;
  #unlogged = 0;

  constructor(subject: RefusalSubject, runtime: Runtime, log: Log | undefined) {
    this.#subject = subject;
    this.#runtime = runtime;
    this.#log = log === undefined ? undefined : safeLog(log);
  }

  /** Something was refused. `why` is asked only if that is written: the reason, a colon, and what to do. */
  refused(why: () => string): void {
    if (this.#log === undefined) return;
    const now = this.#runtime.now();
    this.#lastAt = now;
    this.#total++;
    this.#unlogged++;
    if (this.#end === undefined) {
      this.#beganAt = now;
      this.#loggedAt = -Infinity;
      this.#lookIn(QUIET_MS);
    }
    if (now - this.#loggedAt < LOG_EVERY_MS) return;
    const { noun } = this.#subject;
    const count = this.#unlogged === 1 ? `a ${noun} is` : `${this.#unlogged} ${noun}s were`;
    this.#loggedAt = now;
    this.#unlogged = 0;
    this.#say("refusing", `${count} refused ${why()}`);
  }

  /** Nothing is written any more. */
  close(): void {
    this.#log = undefined;
    this.#end?.cancel();
    this.#end = undefined;
  }

  #lookIn(delayMs: number): void {
    this.#end = this.#runtime.after(delayMs, () => this.#look(), undefined);
  }

  #look(): void {
    const quietMs = this.#runtime.now() - this.#lastAt;
    if (quietMs < QUIET_MS) return this.#lookIn(QUIET_MS - quietMs);
    const forMs = this.#lastAt - this.#beganAt;
    const { noun } = this.#subject;
    const count = this.#total === 1 ? `1 ${noun} was` : `${this.#total} ${noun}s were`;
    const within = forMs > 0 ? ` within ${duration(forMs)}` : "";
    this.#end = undefined;
    this.#total = this.#unlogged = 0;
    const since = `no ${noun} has been refused for ${duration(quietMs)}`;
    this.#say("accepting", `${since}; before that ${count}${within}`);
  }

  #say(what: "refusing" | "accepting", text: string): void {
    const { name, side } = this.#subject;
    const event = `${side}.${what}` as const;
    const about = side === "service" ? { service: name } : {};
    this.#log?.({ level: LOG_EVENTS[event], event, message: `${name}: ${text}`, ...about });
  }
}
