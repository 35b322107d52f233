/**
 * A dispatcher of undici 6 or 7, such as the built-in one of Node 22 and 24, for handlers of undici 8.
 * undici itself has only the other direction (`Dispatcher1Wrapper`).
 */
import type { Duplex } from "node:stream";
import type { Dispatcher } from "undici";
import { util } from "../client/undici.ts";

type Handler = Dispatcher.DispatchHandler;
type Raw = Buffer[];

export function legacyDispatch(
  dispatcher: Dispatcher,
  options: Dispatcher.DispatchOptions,
  handler: Handler,
): boolean {
  return dispatcher.dispatch(options, new LegacyHandler(handler));
}

/** The form of handler that undici 6 knows, and 7 still takes; it is the controller as well. */
class LegacyHandler implements Dispatcher.DispatchController {
  aborted = false;
  paused = false;
  reason: Error | null = null;
  rawHeaders: Raw | null = null;
  rawTrailers: Raw | null = null;
  readonly #handler: Handler;
  #abort: ((reason?: Error) => void) | undefined = undefined;
  #resume: (() => void) | undefined = undefined;

  constructor(handler: Handler) {
    this.#handler = handler;
  }

  // ── as undici 8's handler sees it ────────────────────────────────────────────────────────────

  abort(reason: Error): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    this.#abort?.(reason);
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.#resume?.();
  }

  // ── as undici 6 and 7 drive it ───────────────────────────────────────────────────────────────

  onConnect(abort: (reason?: Error) => void, context: unknown): void {
    this.#abort = abort;
    this.#handler.onRequestStart?.(this, context);
  }

  onHeaders(status: number, raw: Raw, resume: () => void, statusText?: string): boolean {
    this.rawHeaders = raw;
    this.#resume = resume;
    this.#handler.onResponseStart?.(this, status, util.parseHeaders(raw), statusText);
    return !this.paused;
  }

  onData(chunk: Buffer): boolean {
    this.#handler.onResponseData?.(this, chunk);
    return !this.paused;
  }

  onComplete(raw: Raw | null): void {
    this.rawTrailers = raw ?? [];
    this.#handler.onResponseEnd?.(this, util.parseHeaders(this.rawTrailers));
  }

  onError(error: Error): void {
    this.#handler.onResponseError?.(this, error);
  }

  onUpgrade(status: number, raw: Raw, socket: Duplex): void {
    this.rawHeaders = raw;
    this.#handler.onRequestUpgrade?.(this, status, util.parseHeaders(raw), socket);
  }

  onBodySent(chunk: Buffer): void {
    this.#handler.onBodySent?.(chunk);
  }

  onRequestSent(): void {
    this.#handler.onRequestSent?.();
  }

  onResponseStarted(): void {
    this.#handler.onResponseStarted?.();
  }
}
