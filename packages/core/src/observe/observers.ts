/**
 * The observers of a mesh. The list is replaced as a whole and never changed, so that a call can keep the
 * one it began with; with none attached it is undefined, and that is the one comparison that each place
 * pays. Code that reports something asks `attached` first and makes nothing before.
 */
import type { Call } from "../call.ts";
import { ConfigError, makeMistake, type Mistake, type PathPart } from "../config/mistakes.ts";
import { unknownKeyRule } from "../config/did-you-mean.ts";
import { stackOf } from "../errors.ts";
import type { Log } from "../log.ts";
import type { HeadFacts } from "../route/facts.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { HOOK_ERRORS } from "../telemetry/instruments.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import { Attached, HOOK_NAMES, type HookName } from "./attached.ts";
import { CHANNEL_OBSERVER, isSubscribed } from "./channels.ts";
import { Audience, CallObservation, type ObservedService } from "./call-observation.ts";
import type { Observer } from "./observer.ts";
import { ServedObservation, type ServedFacts } from "./served-observation.ts";

/** Characters of an error's text that are kept and logged. */
const MAX_TEXT = 2_000;

export interface ObserversSnapshot {
  /** Attached now; with a subscriber of a diagnostics channel one more. */
  readonly attached: number;
  /** How often a hook of an observer, or an exporter, has thrown or rejected. */
  readonly errors: number;
  /** The last of those errors. */
  readonly lastError: string | undefined;
}

export class Observers {
  #attached: readonly Attached[] | undefined = undefined;
  readonly #runtime: Runtime;
  readonly #telemetry: Telemetry;
  readonly #log: Log;
  /** Undefined: no channel has a subscriber, as far as this mesh has noticed. */
  #endChannels: (() => void) | undefined = undefined;
  #calls = 0;
  #served = 0;
  #errors = 0;
  #lastError: unknown = undefined;

  constructor(runtime: Runtime, telemetry: Telemetry, log: Log) {
    this.#runtime = runtime;
    this.#telemetry = telemetry;
    this.#log = log;
  }

  /** Who hears of what begins now; undefined: there is none. */
  get attached(): readonly Attached[] | undefined {
    if (isSubscribed() !== (this.#endChannels !== undefined)) this.#followChannels();
    return this.#attached;
  }

  #followChannels(): void {
    const end = this.#endChannels;
    this.#endChannels = end === undefined ? this.attach(CHANNEL_OBSERVER) : undefined;
    end?.();
  }

  /** Gives its end, which is idempotent. Throws ConfigError with every mistake. */
  attach(observer: Observer): () => void {
    const mistakes = observerMistakes(observer, []);
    if (mistakes.length > 0) throw new ConfigError(mistakes);
    const one = new Attached(observer, (hook, error, by) => this.#hookFailed(hook, error, by));
    this.#attached = [...(this.#attached ?? []), one];
    return () => {
      one.detach();
      const others = this.#attached?.filter((other) => other !== one);
      this.#attached = others === undefined || others.length === 0 ? undefined : others;
    };
  }

  callStarted(call: Call<HeadFacts>, service: ObservedService): void {
    const observed = new CallObservation(++this.#calls, call, this.#audienceOf(service));
    call.observed = observed;
    observed.started();
  }

  #audienceOf(service: ObservedService): Audience {
    const last = service.audience;
    if (last !== undefined && last.by === this.#attached) return last;
    return (service.audience = new Audience(this.#attached!, service, this.#runtime));
  }

  /** For servers: undefined if there is no observer. What it gives is called at the end of the request. */
  servedStarted(facts: ServedFacts): ServedObservation | undefined {
    const by = this.attached;
    if (by === undefined) return undefined;
    const observed = new ServedObservation(++this.#served, facts, by, this.#runtime);
    for (const one of by) one.tell("servedStarted", observed);
    return observed;
  }

  tell<H extends HookName>(hook: H, about: Parameters<NonNullable<Observer[H]>>[0]): void {
    for (const one of this.attached ?? []) one.tell(hook, about);
  }

  /** For those who are in the middle of a change: a hook may call the mesh, which is then done with it. */
  tellSoon<H extends HookName>(hook: H, about: Parameters<NonNullable<Observer[H]>>[0]): void {
    queueMicrotask(() => this.tell(hook, about));
  }

  #hookFailed(hook: HookName, error: unknown, by: Attached): void {
    this.#count(hook, error);
    if (by.logged) return;
    by.logged = true;
    const line = stackOf(error).slice(0, MAX_TEXT);
    const message = `an observer failed in ${hook}, and will not be named again: ${line}`;
    this.#log({ level: "warn", event: "observer.failed", message });
  }

  /** Counts what the application's code has thrown, and gives it as text. */
  failed(where: string, error: unknown): string {
    this.#count(where, error);
    return stackOf(error).slice(0, MAX_TEXT);
  }

  /** A hook may fail for every call: to make text of an error costs more than the call. */
  #count(where: string, error: unknown): void {
    this.#errors++;
    this.#lastError = error;
    this.#telemetry.counter(HOOK_ERRORS, { hook: where }).add(1);
  }

  snapshot(): ObserversSnapshot {
    return {
      attached: this.#attached?.length ?? 0,
      errors: this.#errors,
      lastError: this.#errors === 0 ? undefined : stackOf(this.#lastError).slice(0, MAX_TEXT),
    };
  }
}

/** An object of a class may have members of its own; in a literal they are names that were mistyped. */
export function observerMistakes(observer: unknown, at: readonly PathPart[]): Mistake[] {
  const origin = "mesh.observe";
  if (typeof observer !== "object" || observer === null) {
    return [makeMistake([...at, "observer"], "must be an object with hooks", observer, origin)];
  }
  const values = observer as Readonly<Record<string, unknown>>;
  const mistakes = HOOK_NAMES.flatMap((name) => {
    const value = values[name];
    if (value === undefined || typeof value === "function") return [];
    return [makeMistake([...at, name], "must be a function", value, origin)];
  });
  if (Object.getPrototypeOf(observer) !== Object.prototype) return mistakes;
  const known: readonly string[] = HOOK_NAMES;
  for (const name of Object.keys(observer)) {
    if (known.includes(name)) continue;
    mistakes.push(makeMistake([...at, name], unknownKeyRule(name, known), values[name], origin));
  }
  return mistakes;
}
