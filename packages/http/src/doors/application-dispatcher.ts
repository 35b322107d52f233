/**
 * The dispatcher that the application has set as the global one, at the time of the call: a proxy, one
 * with its own authorities, a MockAgent. Requests that no service takes go where they would go without
 * the mesh; and while a MockAgent is active everything goes to it, because a test that has forbidden
 * the network must not reach it by a service's name (docs/guides/undici-and-fetch.md).
 */
import type { Dispatcher } from "undici";
import { CURRENT, globals, isDefault, LEGACY } from "./global-symbols.ts";
import { legacyDispatch } from "./legacy-dispatcher.ts";

export interface ApplicationDispatcher {
  /** As it was set; its events are those of the connections it opens. */
  readonly given: Dispatcher;
  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean;
}

/** What `installGlobal` has put over another dispatcher, and that one. */
const underneath = new WeakMap<Dispatcher, Dispatcher>();

export function laidOver(installed: Dispatcher, before: Dispatcher): void {
  underneath.set(installed, before);
}

let seenCurrent: Dispatcher | undefined;
let seenLegacy: Dispatcher | undefined;
let chosen: ApplicationDispatcher | undefined;
let chosenMocks = false;

/** Undefined if the application has set none. */
export function applicationDispatcher(): ApplicationDispatcher | undefined {
  const current = globals[CURRENT];
  const legacy = globals[LEGACY];
  if (current !== seenCurrent || legacy !== seenLegacy) {
    seenCurrent = current;
    seenLegacy = legacy;
    chosen = choose(uncovered(current), uncovered(legacy));
    chosenMocks = chosen !== undefined && hasMethods(chosen.given);
  }
  return chosen;
}

/** The global dispatcher if it is a MockAgent, of any undici, that is active. */
export function activeMock(): ApplicationDispatcher | undefined {
  const application = applicationDispatcher();
  return chosenMocks && isActive(application!.given) ? application : undefined;
}

/** A MockAgent that answers: one that is deactivated lets everything through. */
export function isActiveMock(dispatcher: Dispatcher): boolean {
  return hasMethods(dispatcher) && isActive(dispatcher);
}

function uncovered(dispatcher: Dispatcher | undefined): Dispatcher | undefined {
  return dispatcher === undefined ? undefined : (underneath.get(dispatcher) ?? dispatcher);
}

/**
 * undici 8 writes both symbols, the legacy one as a wrapper of the other. So what stands in the legacy
 * one and is no wrapper was set by undici 6 or 7, or by Node, and it counts.
 */
function choose(
  current: Dispatcher | undefined,
  legacy: Dispatcher | undefined,
): ApplicationDispatcher | undefined {
  if (legacy !== undefined && !isDefault(legacy) && !isWrapper(legacy)) {
    return {
      given: legacy,
      dispatch: (options, handler) => legacyDispatch(legacy, options, handler),
    };
  }
  if (current === undefined || isDefault(current)) return undefined;
  return { given: current, dispatch: (options, handler) => current.dispatch(options, handler) };
}

/** By its name: it may be the class of another copy of undici. */
function isWrapper(dispatcher: Dispatcher): boolean {
  return dispatcher.constructor?.name === "Dispatcher1Wrapper";
}

const MOCK_METHODS = [
  "get",
  "activate",
  "deactivate",
  "disableNetConnect",
  "enableNetConnect",
  "assertNoPendingInterceptors",
] as const;

/** By what a MockAgent documents: there are as many classes of that name as copies of undici. */
function hasMethods(dispatcher: Dispatcher): boolean {
  const methods = dispatcher as unknown as Record<string, unknown>;
  return MOCK_METHODS.every((name) => typeof methods[name] === "function");
}

function isActive(mock: Dispatcher): boolean {
  return (mock as unknown as { readonly isMockActive?: boolean }).isMockActive !== false;
}
