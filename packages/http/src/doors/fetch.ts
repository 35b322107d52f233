/**
 * `mesh.fetch`: the WHATWG function through the mesh's dispatcher. It is npm undici's, which is the same on
 * every Node and always asks our dispatcher; its replies become Responses of the process's own class
 * (docs/decisions/0024-one-dispatcher.md). Loading it is what importing undici is: it may
 * take over the built-in fetch, so that is guarded (global-symbols.ts), and it is loaded at the first call.
 *
 * Fetch follows redirects, and each hop is a call of its own. A hop from a service to an origin that
 * the mesh does not know is refused: a peer that can make a service answer with a `location` must not
 * choose where this process connects to.
 */
import { MeshError } from "@inmesh/core/spi";
import type { Dispatcher, RequestInfo, RequestInit } from "undici";
import { cancelUnread } from "../client/supplied-body.ts";
import { loadFetch, type Web } from "../client/undici.ts";
import { CONTENT_ENCODING } from "../headers.ts";
import { BodyMeter, checkCodings, limited } from "./decoding.ts";
import { ofProcess } from "./response.ts";
import type { MeshDispatcher } from "./dispatcher.ts";
import { translated } from "./foreign.ts";
import { leavingBuiltIn } from "./global-symbols.ts";

/** As the application's own compiler knows it: by the types of Node, or those of lib dom. */
export type Fetch = typeof globalThis.fetch;

let loaded: Web | undefined;

export function meshFetch(dispatcher: MeshDispatcher): Fetch {
  return (async (given: RequestInfo, givenInit?: RequestInit) => {
    const { fetch, Request } = (loaded ??= leavingBuiltIn(loadFetch));
    const [input, init] = translated(given, givenInit, Request);
    if (init?.dispatcher !== undefined) return ofProcess(await fetch(input, init));
    const hops = new Hops(dispatcher);
    let reply: Awaited<ReturnType<typeof fetch>>;
    try {
      reply = await fetch(input, { ...init, dispatcher: hops as unknown as Dispatcher });
    } catch (error) {
      cancelUnread(init?.body, error);
      throw fromHere(error);
    }
    return reply.body !== null && reply.headers.has(CONTENT_ENCODING)
      ? ofProcess(reply, limited(reply.body, hops.meter))
      : ofProcess(reply);
  }) as Fetch;
}

/**
 * undici makes its TypeError where the connection's events arrive, so its stack names no caller. In an
 * async function the one that waits for it is found. What a signal was aborted with is the caller's own.
 */
function fromHere(error: unknown): unknown {
  if (error instanceof TypeError && error.cause instanceof MeshError) {
    Error.captureStackTrace?.(error, fromHere);
  }
  return error;
}

/** The dispatcher of one fetch and all its redirects. */
class Hops {
  readonly meter: BodyMeter = new BodyMeter();
  readonly #dispatcher: MeshDispatcher;
  #inside = false;

  constructor(dispatcher: MeshDispatcher) {
    this.#dispatcher = dispatcher;
  }

  get isMockActive(): boolean {
    return this.#dispatcher.isMockActive;
  }

  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    if (this.#dispatcher.knows(options.origin!)) this.#inside = true;
    else if (this.#inside) {
      handler.onResponseError!(undefined as never, leaving(options.origin));
      return false;
    }
    return this.#dispatcher.dispatch(options, new Hop(handler, this.meter));
  }
}

function leaving(origin: unknown): MeshError {
  return new MeshError({
    code: "denied",
    reason: "policy",
    message: `a redirect leads out of the mesh, to ${String(origin).slice(0, 200)}: follow it yourself if you trust it`,
    progress: "not-sent",
  });
}

/** Passes everything on; looks at the codings, and counts what comes before it is decoded. */
class Hop implements Dispatcher.DispatchHandler {
  readonly #handler: Dispatcher.DispatchHandler;
  readonly #meter: BodyMeter;

  constructor(handler: Dispatcher.DispatchHandler, meter: BodyMeter) {
    this.#handler = handler;
    this.#meter = meter;
  }

  onRequestStart(controller: Dispatcher.DispatchController, context: unknown): void {
    this.#handler.onRequestStart!(controller, context);
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

  onResponseStart(
    ...args: Parameters<Required<Dispatcher.DispatchHandler>["onResponseStart"]>
  ): void {
    checkCodings(args[2][CONTENT_ENCODING]);
    this.#meter.encodedBytes = 0;
    this.#handler.onResponseStart!(...args);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#meter.encodedBytes += chunk.length;
    this.#handler.onResponseData!(controller, chunk);
  }

  onResponseEnd(...args: Parameters<Required<Dispatcher.DispatchHandler>["onResponseEnd"]>): void {
    this.#handler.onResponseEnd!(...args);
  }

  onResponseError(
    ...args: Parameters<Required<Dispatcher.DispatchHandler>["onResponseError"]>
  ): void {
    this.#handler.onResponseError!(...args);
  }

  onRequestUpgrade(
    ...args: Parameters<Required<Dispatcher.DispatchHandler>["onRequestUpgrade"]>
  ): void {
    this.#handler.onRequestUpgrade!(...args);
  }
}
