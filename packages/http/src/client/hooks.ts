/**
 * Hooks of a client: functions of the application that are called for its calls. They watch and change nothing. What
 * they throw, or reject with, is logged and hurts no call.
 */
import { ConfigError, type MeshError, type NoRetry } from "@inmesh/core";
import {
  optionMistakes,
  promised,
  stackOf,
  type LimitedLog,
  type OptionKinds,
} from "@inmesh/core/spi";
import type { HttpHeaders } from "../headers.ts";
import type { ReplyInfo } from "./reply.ts";

/** What every hook receives of its call. */
export interface HookedCall {
  /** Name of the service, as in the configuration, or host and port of a URL. */
  readonly service: string;
  /** As it is sent. */
  readonly method: string;
  /** With its query. It may hold what should not be logged. */
  readonly path: string;
}

export interface HookedReply extends HookedCall {
  /** The status of HTTP. */
  readonly status: number;
  /** By name, in any case; iterable. */
  readonly headers: HttpHeaders;
  /** Endpoint, attempts, timings, and why it was routed so. */
  readonly mesh: ReplyInfo;
}

export interface HookedRetry extends HookedCall {
  /** Number of the attempt that failed, from 1. */
  readonly attempt: number;
  /** Of the attempt that failed, `host:port`; undefined if it never had one. */
  readonly endpoint: string | undefined;
  /** Milliseconds until the next attempt begins; 0: at once. */
  readonly pauseMs: number;
  /** Why there is another attempt: a status that the policy lists. Undefined: it was an error. */
  readonly status: number | undefined;
  /** Why there is another attempt, where the failed one had no reply. Undefined: it was a status. */
  readonly error: MeshError | undefined;
}

export interface HookedError extends HookedCall {
  /** A MeshError, or what the caller's signal was aborted with. */
  readonly error: unknown;
  /** Why no further attempt was made: the words of `MeshError.noRetry`. Undefined: there was nothing to retry. */
  readonly noRetry: NoRetry | undefined;
}

export interface ClientHooks {
  /** A call begins. For one that is refused for its own options or path no hook is called. Default: none. */
  readonly onRequest?: (call: HookedCall) => unknown;
  /** The head of the reply that the caller gets is here, whatever its status. Default: none. */
  readonly onReply?: (reply: HookedReply) => unknown;
  /** An attempt failed and another follows. Default: none. */
  readonly onRetry?: (retry: HookedRetry) => unknown;
  /**
   * The call failed: the caller gets this error. With `throwOnError` it follows `onReply`. A body that fails while
   * it is read calls no hook. Default: none.
   */
  readonly onError?: (error: HookedError) => unknown;
}

const HOOKS: OptionKinds<ClientHooks> = {
  onRequest: "function",
  onReply: "function",
  onRetry: "function",
  onError: "function",
};
const OTHER_NAMES = {
  onResponse: 'did you mean "onReply"?',
  beforeRequest: 'did you mean "onRequest"?',
  afterResponse: 'did you mean "onReply"?',
  beforeRetry: 'did you mean "onRetry"?',
};

/** Throws ConfigError, with every mistake: a hook with another name would never be called. */
export function assertHooks(hooks: ClientHooks | undefined): void {
  if (hooks === undefined) return;
  const mistakes = optionMistakes("meshClient", hooks, HOOKS, OTHER_NAMES);
  if (mistakes.length > 0) throw new ConfigError(mistakes);
}

/** Calls a hook. */
export function tell<T>(hook: ((info: T) => unknown) | undefined, info: T, log: LimitedLog): void {
  if (hook === undefined) return;
  const failed = (error: unknown): void => {
    log.write("hook.failed", () => `a hook of a client failed: ${stackOf(error)}`);
  };
  try {
    const result = hook(info);
    // One that is asynchronous must not become an unhandled rejection.
    promised(result)?.catch(failed);
  } catch (error) {
    failed(error);
  }
}
