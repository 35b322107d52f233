/**
 * What a client adds to its calls: default headers, hooks, errors for bad statuses. Decided when the client is
 * made: one that adds nothing has none of these, and its calls ask for nothing of it.
 */
import type { LogLine, Mesh } from "@inmesh/core";
import { placed, type NoRetry } from "@inmesh/core/spi";
import { tell, type ClientHooks, type HookedCall } from "./hooks.ts";
import type { HttpReply } from "./reply.ts";
import { flatten, type HeadersInput, type HttpRequest } from "./request.ts";
import type { RetryWatcher } from "./start.ts";
import { statusError } from "./status-error.ts";

export interface ExtraOptions {
  /**
   * Headers of every call of this client that does not give them itself. A function is asked for each call;
   * what it throws fails that call. Default: none.
   */
  readonly headers?: HeadersInput | (() => HeadersInput);
  /** Hear what happens to the calls of this client. Default: none. */
  readonly hooks?: ClientHooks;
  /**
   * A reply with a status from 400 up rejects with a StatusError, whose body is read for you, at most
   * 16 KiB of it. A call's own option wins. Default: false.
   */
  readonly throwOnError?: boolean;
}

export class Extras {
  readonly throwOnError: boolean;
  readonly #headers: readonly string[] | (() => HeadersInput) | undefined;
  readonly hooks: ClientHooks | undefined;
  readonly #log: (line: LogLine) => void;

  constructor({ headers, hooks, throwOnError = false }: ExtraOptions, mesh: Mesh) {
    this.throwOnError = throwOnError;
    this.#headers =
      typeof headers === "function" || headers === undefined ? headers : flatten(headers);
    this.hooks = hooks;
    this.#log = mesh.log;
  }

  /** The application's own headers win, name by name. */
  addHeaders(request: HttpRequest): void {
    const given = this.#headers;
    if (given === undefined) return;
    const list = typeof given === "function" ? flatten(given()) : given;
    request.addDefaults(list);
  }

  /** Tells the hooks. `send` starts the call; the promise is the caller's. */
  async run(
    hooks: ClientHooks,
    service: string,
    request: HttpRequest,
    throwOnError: boolean,
    send: (onRetry: RetryWatcher | undefined) => Promise<HttpReply>,
  ): Promise<HttpReply> {
    const { method, path } = request;
    const about: HookedCall = { service, method, path };
    tell(hooks.onRequest, about, this.#log);
    try {
      const reply = await send(this.#retries(hooks, about));
      const { status, headers, mesh } = reply;
      tell(hooks.onReply, { ...about, status, headers, mesh }, this.#log);
      return await checked(reply, throwOnError);
    } catch (error) {
      const { noRetry } = (error ?? {}) as { noRetry?: NoRetry };
      tell(hooks.onError, { ...about, error, noRetry }, this.#log);
      throw error;
    }
  }

  #retries({ onRetry }: ClientHooks, about: HookedCall): RetryWatcher | undefined {
    if (onRetry === undefined) return undefined;
    return ({ number, endpoint }, pauseMs, reply, error) => {
      const status = reply?.code;
      const info = {
        ...about,
        attempt: number,
        endpoint: endpoint?.address,
        pauseMs,
        status,
        error,
      };
      tell(onRetry, info, this.#log);
    };
  }
}

async function checked(reply: HttpReply, throwOnError: boolean): Promise<HttpReply> {
  if (throwOnError && reply.status >= 400) throw placed(await statusError(reply));
  return reply;
}

/** For calls without hooks. */
export async function throwOnStatus(sent: Promise<HttpReply>): Promise<HttpReply> {
  // Awaited: the stack of the error goes on through it.
  return await checked(await sent, true);
}
