/**
 * The built-in fetch asks two global symbols for its dispatcher: `.1` speaks the handlers of undici
 * 6 and 7 (Node 22, 24), `.2` those of 8 (Node 26). npm's undici writes both when it is loaded
 * before the built-in one. So whoever touches them makes the built-in one load first, and puts back
 * what it found.
 */
import type { Dispatcher } from "undici";
import { dispatcher1Wrapper, loadGlobal } from "../client/undici.ts";
import type { MeshDispatcher } from "./dispatcher.ts";

const LEGACY: unique symbol = Symbol.for("undici.globalDispatcher.1");
const CURRENT: unique symbol = Symbol.for("undici.globalDispatcher.2");

interface Globals {
  [LEGACY]: Dispatcher | undefined;
  [CURRENT]: Dispatcher | undefined;
}

const globals = globalThis as unknown as Globals;

/** Runs `load`, which may load npm's undici; the built-in fetch goes on as before. */
export function leavingBuiltIn<T>(load: () => T): T {
  wakeBuiltIn();
  const legacy = globals[LEGACY];
  const current = globals[CURRENT];
  try {
    return load();
  } finally {
    // Where the built-in fetch does not use `.2` (Node 22), npm's undici keeps its own there.
    if (legacy !== undefined) globals[LEGACY] = legacy;
    if (current !== undefined) globals[CURRENT] = current;
  }
}

/** Makes Node load its fetch, which sets the symbols if nobody has. */
function wakeBuiltIn(): void {
  if (typeof Request === "function") void new Request("http://x/");
}

/** What stands in a symbol while the mesh is installed. */
class Installed {
  readonly #key: typeof LEGACY | typeof CURRENT;
  readonly #before: Dispatcher | undefined;
  readonly #ours: Dispatcher;

  constructor(key: typeof LEGACY | typeof CURRENT, make: (before: Dispatcher) => Dispatcher) {
    this.#key = key;
    this.#before = globals[key];
    this.#ours = this.#before === undefined ? (undefined as never) : make(this.#before);
    if (this.#before !== undefined) globals[key] = this.#ours;
  }

  /** Only what is still ours: who came after us has the word. */
  remove(): void {
    if (this.#before !== undefined && globals[this.#key] === this.#ours) {
      globals[this.#key] = this.#before;
    }
  }
}

/** Requests of the process to known origins go through the mesh; all others where they went before. */
export function install(mesh: MeshDispatcher): () => void {
  // Loaded after us, npm's undici would write over what we install where `.2` is not set (Node 22).
  leavingBuiltIn(loadGlobal);
  const wrapper = dispatcher1Wrapper();
  const legacy = new Installed(LEGACY, (before) =>
    through(mesh, before, (handler) => wrapper.wrapHandler(handler)),
  );
  const current = new Installed(CURRENT, (before) => through(mesh, before, (handler) => handler));
  return () => {
    legacy.remove();
    current.remove();
  };
}

/**
 * The dispatcher that was there, but for known origins. An object over it, not a copy: whatever else
 * is read from a global dispatcher is answered by the one that was there, as if it were asked itself.
 * What fetch reads for every request stands in front, because a proxy's trap is slow.
 */
function through(
  mesh: MeshDispatcher,
  before: Dispatcher,
  adapt: (handler: Dispatcher.DispatchHandler) => Dispatcher.DispatchHandler,
): Dispatcher {
  const behind = new Proxy(before, {
    get: (target, key) => Reflect.get(target, key, target) as unknown,
    set: (target, key, value) => Reflect.set(target, key, value, target),
  });
  return Object.create(behind, {
    dispatch: {
      value: (options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean =>
        mesh.knows(options.origin!)
          ? mesh.dispatch(options, adapt(handler))
          : before.dispatch(options, handler),
    },
    isMockActive: { get: () => (before as { isMockActive?: boolean }).isMockActive },
    close: { value: (...args: []) => before.close(...args) },
    destroy: { value: (...args: []) => before.destroy(...args) },
  }) as Dispatcher;
}
