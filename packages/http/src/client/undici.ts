/**
 * What we use of undici, loaded by path instead of through its index. The index costs twice the
 * import time, and it installs undici's dispatcher under a global symbol: on Node 22 that alone
 * breaks the built-in fetch (a POST with an explicit content-length). Importing inmesh must change
 * nothing global. The price: the paths are not covered by undici's semver, so its minor is pinned
 * and a test imports them (docs/decisions/0004-undici-by-path.md).
 *
 * What only some doors need (`request`, `fetch`, …) is loaded when first used, in the same turn.
 */
import type * as Undici from "undici";
import errorsByPath from "undici/lib/core/errors.js";
import symbolsByPath from "undici/lib/core/symbols.js";
import utilByPath from "undici/lib/core/util.js";
import AgentByPath from "undici/lib/dispatcher/agent.js";
import ClientByPath from "undici/lib/dispatcher/client.js";
import DispatcherBaseByPath from "undici/lib/dispatcher/dispatcher-base.js";
import PoolByPath from "undici/lib/dispatcher/pool.js";
import { loadApi, loadDispatcher1Wrapper, loadGlobal, loadWeb } from "./undici-lazy.cjs";

export const Pool: typeof Undici.Pool = PoolByPath;
export const Client: typeof Undici.Client = ClientByPath;
export const Agent: typeof Undici.Agent = AgentByPath;
export const errors: typeof Undici.errors = errorsByPath;

/** What a subclass of DispatcherBase says: a request while open, and the two ends, once each. */
interface DispatcherHooks {
  dispatchOpen(
    options: Undici.Dispatcher.DispatchOptions,
    handler: Undici.Dispatcher.DispatchHandler,
  ): boolean;
  closeOnce(): Promise<void>;
  destroyOnce(error: Error): Promise<void>;
  readonly closed: boolean;
  readonly destroyed: boolean;
}

/** Checks arguments, counts closing once, and knows both forms of `close` and `destroy`. */
export const DispatcherBase: abstract new () => Undici.Dispatcher & DispatcherHooks = hooked();

/** undici calls its subclasses by symbols, which no declaration file can name. */
function hooked(): abstract new () => Undici.Dispatcher & DispatcherHooks {
  const { kDispatch, kClose, kDestroy } = symbolsByPath;
  const base = class extends (DispatcherBaseByPath as unknown as new () => DispatcherHooks) {
    [kDispatch](
      options: Undici.Dispatcher.DispatchOptions,
      handler: Undici.Dispatcher.DispatchHandler,
    ): boolean {
      return this.dispatchOpen(options, handler);
    }

    [kClose](): Promise<void> {
      return this.closeOnce();
    }

    [kDestroy](error: Error): Promise<void> {
      return this.destroyOnce(error);
    }
  };
  return base as unknown as abstract new () => Undici.Dispatcher & DispatcherHooks;
}

interface Util {
  /** Throws InvalidArgumentError if a callback is missing, or the handler has v7's form. */
  assertRequestHandler(handler: unknown, method: string, upgrade: unknown): void;
  serializePathWithQuery(path: string, query: object): string;
  /** Names and values in turn, as bytes. */
  toRawHeaders(headers: object): Buffer[];
  /** By name, in small letters; several values of one name as a list. */
  parseHeaders(raw: readonly Buffer[]): Record<string, string | string[]>;
}
export const util: Util = utilByPath;

type Api = Pick<Undici.Dispatcher, "request" | "stream" | "pipeline" | "upgrade" | "connect">;
interface Wrapper {
  new (dispatcher: Undici.Dispatcher): Undici.Dispatcher;
  /** A handler of v7's form as one of v8's; one of v8's as it is. */
  wrapHandler(handler: object): Undici.Dispatcher.DispatchHandler;
}

// Each is kept once it is loaded: `require` of a loaded module still costs 15 µs, and these are asked per request.
let api: Api | undefined;
let wrapper: Wrapper | undefined;
let web: Web | undefined;

/** `request`, `stream` and the other methods that undici's index adds to every Dispatcher. */
export function dispatcherApi(): Api {
  return (api ??= loadApi() as Api);
}

export function dispatcher1Wrapper(): Wrapper {
  return (wrapper ??= loadDispatcher1Wrapper() as Wrapper);
}

export interface Web {
  readonly fetch: typeof Undici.fetch;
  readonly Request: typeof Undici.Request;
}

export function loadFetch(): Web {
  return (web ??= loadWeb() as Web);
}

/** Both set undici's global symbols if they are not set yet: callers guard them, see doors/global-symbols.ts. */
export { loadGlobal };
