/**
 * Where the process's global dispatcher stands. The built-in fetch asks two global symbols for it:
 * `.1` speaks the handlers of undici 6 and 7 (Node 22, 24), `.2` those of 8 (Node 26). npm's undici 8
 * writes both when it is loaded before the built-in one. So code that touches them makes the built-in
 * one load first, and puts back what it found.
 */
import type { Dispatcher } from "undici";

export const LEGACY: unique symbol = Symbol.for("undici.globalDispatcher.1");
export const CURRENT: unique symbol = Symbol.for("undici.globalDispatcher.2");

interface Globals {
  [LEGACY]: Dispatcher | undefined;
  [CURRENT]: Dispatcher | undefined;
}

export const globals: Globals = globalThis as unknown as Globals;

/** Dispatchers that were seen to come up by themselves: the application has chosen none. */
const defaults = new WeakSet<Dispatcher>();

/** The application did not set it: undici has made it when it was loaded. */
export function isDefault(dispatcher: Dispatcher): boolean {
  return defaults.has(dispatcher);
}

/** Runs `load`, which may load npm's undici; the built-in fetch goes on as before. */
export function leavingBuiltIn<T>(load: () => T): T {
  noting(wakeBuiltIn);
  const legacy = globals[LEGACY];
  const current = globals[CURRENT];
  try {
    return noting(load);
  } finally {
    // Where the built-in fetch does not use `.2` (Node 22), npm's undici keeps its own there.
    if (legacy !== undefined) globals[LEGACY] = legacy;
    if (current !== undefined) globals[CURRENT] = current;
  }
}

/** Makes Node load its fetch, which sets the symbols if they are not set. */
function wakeBuiltIn(): void {
  if (typeof Request === "function") void new Request("http://x/");
}

/** What `load` puts where nothing was is a default, unless it is one that reads the environment for a proxy. */
function noting<T>(load: () => T): T {
  const before = [globals[LEGACY], globals[CURRENT]];
  const result = load();
  [globals[LEGACY], globals[CURRENT]].forEach((after, i) => {
    if (before[i] !== undefined || after === undefined) return;
    if (after.constructor.name !== "EnvHttpProxyAgent") defaults.add(after);
  });
  return result;
}
