/**
 * `mesh.dispatcher`: the pipeline as an undici Dispatcher, for every caller that takes one. Origins
 * of configured services (origins.ts) become calls; all others pass to a plain undici Agent as they
 * are. What a dispatcher is asked for beyond a request is decided here.
 *
 * - `dispatch` of a service returns true always: calls wait in the pipeline, which is bounded by
 *   `limits.maxInFlight` and answers with an error. For other origins the Agent's answer and its
 *   `drain`, `connect`, `disconnect` and `connectionError` events count.
 * - `headersTimeout` and `bodyTimeout` of a request have no effect on a service: its `timeouts` count.
 * - Errors are MeshErrors; wrong arguments are undici's InvalidArgumentError, an abort its reason.
 * - `close` waits for the requests begun through this dispatcher, `destroy` ends them; the mesh stays open.
 */
import type { Mesh } from "@inmesh/core";
import type { Dispatcher } from "undici";
import { callOf } from "../client/start.ts";
import { Agent, dispatcherApi, DispatcherBase, util } from "../client/undici.ts";
import { DispatchedCall, LiveCalls } from "./dispatched-call.ts";
import { DispatchedRequest } from "./dispatch-request.ts";
import { Origins } from "./origins.ts";

const EVENTS = ["connect", "disconnect", "connectionError", "drain"] as const;

export class MeshDispatcher extends DispatcherBase {
  readonly #origins: Origins;
  readonly #live: LiveCalls = new LiveCalls();
  #plain: Dispatcher | undefined = undefined;

  constructor(mesh: Mesh) {
    super();
    this.#origins = new Origins(mesh);
  }

  /** True if requests to this origin become calls of a service. */
  knows(origin: string | URL): boolean {
    return this.#origins.serviceOf(origin) !== undefined;
  }

  override dispatchOpen(
    options: Dispatcher.DispatchOptions,
    handler: Dispatcher.DispatchHandler,
  ): boolean {
    const service = this.#origins.serviceOf(options.origin);
    if (service === undefined) return this.plain.dispatch(options, handler);
    util.assertRequestHandler(handler, options.method, options.upgrade);
    const request = new DispatchedRequest(options, service.config);
    const call = callOf(service, request, options.idempotent);
    new DispatchedCall(handler, call, this.#live).start(service);
    return true;
  }

  /** Where unknown origins go; made when the first one comes. */
  get plain(): Dispatcher {
    if (this.#plain === undefined) {
      const agent = new Agent();
      for (const event of EVENTS) {
        agent.on(event as "drain", (...args) => this.emit(event as "drain", ...args));
      }
      this.#plain = agent;
    }
    return this.#plain;
  }

  override async closeOnce(): Promise<void> {
    await Promise.all([this.#live.whenEmpty(), this.#plain?.close()]);
  }

  override async destroyOnce(error: Error): Promise<void> {
    this.#live.destroy(error);
    await this.#plain?.destroy(error);
  }
}

// undici's index adds these to the prototype of Dispatcher; we do not load it, nor change its classes.
for (const name of ["request", "stream", "pipeline", "upgrade", "connect"] as const) {
  Object.defineProperty(MeshDispatcher.prototype, name, {
    configurable: true,
    writable: true,
    value(this: MeshDispatcher, ...args: unknown[]): unknown {
      const method = dispatcherApi()[name] as (...args: unknown[]) => unknown;
      return method.apply(this, args);
    },
  });
}
