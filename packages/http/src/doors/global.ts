/** `mesh.installGlobal()`: the mesh laid over the process's global dispatcher. */
import type { Dispatcher } from "undici";
import { loadGlobal } from "../client/undici.ts";
import { isActiveMock, laidOver } from "./application-dispatcher.ts";
import type { MeshDispatcher } from "./dispatcher.ts";
import { CURRENT, globals, LEGACY, leavingBuiltIn } from "./global-symbols.ts";

/** What stands in a symbol while the mesh is installed. */
class Installed {
  readonly #key: typeof LEGACY | typeof CURRENT;
  readonly #before: Dispatcher | undefined;
  readonly #ours: Dispatcher;

  constructor(key: typeof LEGACY | typeof CURRENT, make: (before: Dispatcher) => Dispatcher) {
    this.#key = key;
    this.#before = globals[key];
    this.#ours = this.#before === undefined ? (undefined as never) : make(this.#before);
    if (this.#before === undefined) return;
    laidOver(this.#ours, this.#before);
    globals[key] = this.#ours;
  }

  /** Only what is still ours: who came after us has the word. */
  remove(): void {
    if (this.#before !== undefined && globals[this.#key] === this.#ours) {
      globals[this.#key] = this.#before;
    }
  }
}

/**
 * Requests of the process to known origins go through the mesh; all others where they went before,
 * and so do all while what was there is an active MockAgent.
 */
export function install(mesh: MeshDispatcher): () => void {
  // Loaded after us, npm's undici would write over what we install where `.2` is not set (Node 22).
  leavingBuiltIn(loadGlobal);
  const legacy = new Installed(LEGACY, (before) => through(mesh, before));
  const current = new Installed(CURRENT, (before) => through(mesh, before));
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
function through(mesh: MeshDispatcher, before: Dispatcher): Dispatcher {
  const behind = new Proxy(before, {
    get: (target, key) => Reflect.get(target, key, target) as unknown,
    set: (target, key, value) => Reflect.set(target, key, value, target),
  });
  return Object.create(behind, {
    dispatch: {
      value: (options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean =>
        mesh.takes(options.origin!) && !isActiveMock(before)
          ? mesh.dispatch(options, handler)
          : before.dispatch(options, handler),
    },
    isMockActive: { get: () => (before as { isMockActive?: boolean }).isMockActive },
    close: { value: (...args: []) => before.close(...args) },
    destroy: { value: (...args: []) => before.destroy(...args) },
  }) as Dispatcher;
}
