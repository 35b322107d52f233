/**
 * An observer that is attached, with its faults kept to itself: what a hook throws, now or as a promise,
 * is reported and goes no further. The four hooks of calls are written out because every call takes them.
 */
import { promised } from "../promised.ts";
import type {
  EndedAttempt,
  EndedCall,
  ObservedCall,
  Observer,
  StartedAttempt,
} from "./observer.ts";

export type HookName = keyof Observer;

/** All of them; the compiler refuses a table that lacks one. */
const NAMES: Readonly<Record<HookName, true>> = {
  callStarted: true,
  attemptStarted: true,
  attemptEnded: true,
  callEnded: true,
  servedStarted: true,
  servedEnded: true,
  endpointChanged: true,
  configChanged: true,
  discoveryChanged: true,
};
export const HOOK_NAMES: readonly HookName[] = Object.keys(NAMES) as HookName[];

export type HookFailed = (hook: HookName, error: unknown, by: Attached) => void;

export class Attached {
  /** It has failed before: the log has its line. Writer: Observers. */
  logged = false;
  #observer: Observer | undefined;
  readonly #failed: HookFailed;

  constructor(observer: Observer, failed: HookFailed) {
    this.#observer = observer;
    this.#failed = failed;
  }

  /** Calls in progress keep this object until they end, and must not keep the observer. */
  detach(): void {
    this.#observer = undefined;
  }

  callStarted(call: ObservedCall): void {
    try {
      const result: unknown = this.#observer?.callStarted?.(call);
      if (result !== undefined) this.#returned("callStarted", result);
    } catch (error) {
      this.#failed("callStarted", error, this);
    }
  }

  attemptStarted(attempt: StartedAttempt): void {
    try {
      const result: unknown = this.#observer?.attemptStarted?.(attempt);
      if (result !== undefined) this.#returned("attemptStarted", result);
    } catch (error) {
      this.#failed("attemptStarted", error, this);
    }
  }

  attemptEnded(attempt: EndedAttempt): void {
    try {
      const result: unknown = this.#observer?.attemptEnded?.(attempt);
      if (result !== undefined) this.#returned("attemptEnded", result);
    } catch (error) {
      this.#failed("attemptEnded", error, this);
    }
  }

  callEnded(call: EndedCall): void {
    try {
      const result: unknown = this.#observer?.callEnded?.(call);
      if (result !== undefined) this.#returned("callEnded", result);
    } catch (error) {
      this.#failed("callEnded", error, this);
    }
  }

  /** Calls any other hook. */
  tell<H extends HookName>(hook: H, about: Parameters<NonNullable<Observer[H]>>[0]): void {
    try {
      const observer = this.#observer as Observer & Record<H, (about: unknown) => unknown>;
      const result: unknown = observer?.[hook]?.(about);
      if (result !== undefined) this.#returned(hook, result);
    } catch (error) {
      this.#failed(hook, error, this);
    }
  }

  /** One that is asynchronous must not become an unhandled rejection. */
  #returned(hook: HookName, result: unknown): void {
    promised(result)?.catch((error: unknown) => this.#failed(hook, error, this));
  }
}
