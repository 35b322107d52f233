/**
 * What a client adds to its calls: default headers, hooks, errors for bad statuses. Decided when the client is
 * made: one that adds nothing has none of these, and its calls ask for nothing of it.
 */
import type { Mesh } from "@inmesh/core";
import { LimitedLog, placed, type NoRetry } from "@inmesh/core/spi";
import { ACCEPT_ENCODING } from "../headers.ts";
import type { HeadersInput } from "./call-options.ts";
import { ACCEPTED_CODINGS } from "./decode.ts";
import { tell, type ClientHooks, type HookedCall } from "./hooks.ts";
import type { HttpReply } from "./reply.ts";
import { flatten, type HttpRequest } from "./request.ts";
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
  /**
   * Redirects that are followed, at most; only to the service itself, another origin is an error. Default 0: the
   * caller gets the reply with its `location`.
   */
  readonly redirects?: number;
  /**
   * Asks for compressed replies (`accept-encoding`, unless the call gives its own), and decodes them in every form
   * they are read in: at most 64 MiB, and 100 times what was received. Default false, because inside a cluster CPU
   * is dearer than bytes; `text()` and `json()` decode what comes encoded all the same.
   */
  readonly decompress?: boolean;
}

export class Extras {
  readonly throwOnError: boolean;
  readonly redirects: number;
  readonly #decompress: boolean;
  readonly #headers: readonly string[] | (() => HeadersInput) | undefined;
  readonly hooks: ClientHooks | undefined;
  /** Of hooks that fail: the same hook may do so for each call. */
  readonly #log: LimitedLog;

  constructor(options: ExtraOptions, mesh: Mesh, service: string) {
    const { headers, hooks } = options;
    this.throwOnError = options.throwOnError ?? false;
    this.redirects = options.redirects ?? 0;
    this.#decompress = options.decompress ?? false;
    this.#headers =
      typeof headers === "function" || headers === undefined ? headers : flatten(headers);
    this.hooks = hooks;
    this.#log = new LimitedLog(mesh.log, mesh.runtime, service);
  }

  /** The application's own headers win, name by name. */
  addHeaders(request: HttpRequest): void {
    const given = this.#headers;
    if (given !== undefined) {
      request.addDefaults(typeof given === "function" ? flatten(given()) : given);
    }
    if (this.#decompress) {
      request.addDefault(ACCEPT_ENCODING, ACCEPTED_CODINGS);
      request.decodes = true;
    }
  }

  /** Calls the hooks. `send` starts the call; the promise is the caller's. */
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
