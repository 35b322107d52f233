/**
 * `mesh.dispatcher`: the pipeline as an undici Dispatcher, for every caller that takes one. Origins
 * of configured services (origins.ts) become calls; all others pass as they are to the dispatcher that
 * the application has set as global at that time, or to a plain undici Agent if it has set none. While
 * the global one is an active MockAgent, everything goes to it. What a dispatcher is asked for beyond a
 * request is decided here.
 *
 * - `dispatch` of a service returns true always: calls wait in the pipeline, which is bounded by
 *   `limits.maxInFlight` and answers with an error. For other origins the answer of the dispatcher that
 *   they go to counts, and its `drain`; of the plain Agent `connect`, `disconnect` and
 *   `connectionError` too.
 * - Handlers have one of two forms: that of undici 8 (`onRequestStart`), or of undici 6 and 7
 *   (`onConnect`), which the built-in fetch of Node 22 and 24 has too. Both are taken.
 * - `headersTimeout` and `bodyTimeout` of a request have no effect on a service: its `timeouts` count.
 * - Errors are MeshErrors; wrong arguments are undici's InvalidArgumentError, an abort its reason.
 * - `close` waits for the requests begun through this dispatcher, `destroy` ends them; the mesh stays open.
 */
import type { Mesh } from "@inmesh/core";
import type { Dispatcher } from "undici";
import { callOf } from "../client/start.ts";
import {
  Agent,
  dispatcher1Wrapper,
  dispatcherApi,
  DispatcherBase,
  util,
} from "../client/undici.ts";
import {
  activeMock,
  applicationDispatcher,
  type ApplicationDispatcher,
} from "./application-dispatcher.ts";
import { DispatchedCall, LiveCalls } from "./dispatched-call.ts";
import { DispatchedRequest } from "./dispatch-request.ts";
import { Origins } from "./origins.ts";

const EVENTS = ["connect", "disconnect", "connectionError", "drain"] as const;

/**
 * Marks options that this dispatcher has passed on to the global one. An interceptor may bring them back,
 * as a copy, where the global dispatcher is built on this one: then the plain Agent gets them.
 */
const PASSED_BY: unique symbol = Symbol("inmesh.passedBy");

type Passed = Dispatcher.DispatchOptions & { readonly [PASSED_BY]?: MeshDispatcher };

export class MeshDispatcher extends DispatcherBase {
  readonly #origins: Origins;
  /** Global dispatchers whose `drain` is awaited. */
  readonly #draining = new WeakSet<Dispatcher>();
  readonly #live: LiveCalls = new LiveCalls();
  #plain: Dispatcher | undefined = undefined;

  constructor(mesh: Mesh) {
    super();
    this.#origins = new Origins(mesh);
  }

  /** True if requests to this origin become calls of a service. */
  knows(origin: string | URL): boolean {
    return this.#origins.knows(origin);
  }

  /** True if requests to this origin stay here: they become calls, or contradict a service's scheme. */
  takes(origin: string | URL): boolean {
    return !this.#origins.passes(origin);
  }

  /** undici's fetch asks a dispatcher, because a MockAgent compares bodies as they were given. */
  get isMockActive(): boolean {
    return activeMock() !== undefined;
  }

  override dispatch(
    options: Dispatcher.DispatchOptions,
    handler: Dispatcher.DispatchHandler,
  ): boolean {
    return hasOldForm(handler)
      ? super.dispatch(withoutDispatcher(options), dispatcher1Wrapper().wrapHandler(handler))
      : super.dispatch(options, handler);
  }

  /** What calls the outermost interceptor may have the older form too, which none of them is made for. */
  override compose(
    ...given:
      | Dispatcher.DispatcherComposeInterceptor[]
      | [Dispatcher.DispatcherComposeInterceptor[]]
  ): Dispatcher.ComposedDispatcher {
    const interceptors = given.flat();
    return super.compose(...interceptors, anyForm);
  }

  override dispatchOpen(
    options: Dispatcher.DispatchOptions,
    handler: Dispatcher.DispatchHandler,
  ): boolean {
    const mock = activeMock();
    if (mock !== undefined) return this.#pass(mock, options, handler);
    const service = this.#origins.serviceOf(options.origin);
    if (service === undefined) return this.#pass(applicationDispatcher(), options, handler);
    util.assertRequestHandler(handler, options.method, options.upgrade);
    const request = new DispatchedRequest(options, service.config);
    const call = callOf(service, request, options.idempotent);
    new DispatchedCall(handler, call, this.#live).start(service);
    return true;
  }

  #pass(
    application: ApplicationDispatcher | undefined,
    options: Passed,
    handler: Dispatcher.DispatchHandler,
  ): boolean {
    const own = application?.given === this || options[PASSED_BY] === this;
    if (application === undefined || own) return this.plain.dispatch(options, handler);
    const passed: Passed = { ...options, [PASSED_BY]: this };
    const free = application.dispatch(passed, handler);
    if (!free) this.#awaitDrain(application.given);
    return free;
  }

  /** A caller that got `false` waits for `drain` of this dispatcher. */
  #awaitDrain(given: Dispatcher): void {
    if (this.#draining.has(given) || typeof given.once !== "function") return;
    this.#draining.add(given);
    given.once("drain", (...args) => {
      this.#draining.delete(given);
      this.emit("drain", ...args);
    });
  }

  /** Where unknown origins go if the application has no global dispatcher; made when first needed. */
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

const anyForm: Dispatcher.DispatcherComposeInterceptor = (dispatch) => (options, handler) =>
  hasOldForm(handler)
    ? dispatch(withoutDispatcher(options), dispatcher1Wrapper().wrapHandler(handler))
    : dispatch(options, handler);

/** undici distinguishes the two forms in the same way. What is no handler is refused by undici's own check. */
function hasOldForm(handler: Dispatcher.DispatchHandler): boolean {
  const { onConnect } = (handler ?? {}) as { onConnect?: unknown };
  return typeof onConnect === "function" && typeof handler.onRequestStart !== "function";
}

/** undici 6 and 7 leave their own option in; undici 8 would refuse it. */
function withoutDispatcher(options: Dispatcher.DispatchOptions): Dispatcher.DispatchOptions {
  const { dispatcher } = (options ?? {}) as { dispatcher?: unknown };
  return dispatcher === undefined
    ? options
    : ({ ...options, dispatcher: undefined } as Dispatcher.DispatchOptions);
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
