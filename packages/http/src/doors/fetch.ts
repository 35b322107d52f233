/**
 * `mesh.fetch`: the WHATWG function, npm undici's, through the mesh's dispatcher. Loading it is what
 * importing undici is: it may take over the built-in fetch, so that is guarded (global.ts), and it
 * is loaded at the first call.
 */
import type { fetch as UndiciFetch } from "undici";
import { loadFetch } from "../client/undici.ts";
import type { MeshDispatcher } from "./dispatcher.ts";
import { leavingBuiltIn } from "./global.ts";

export type Fetch = typeof UndiciFetch;

let loaded: Fetch | undefined;

export function meshFetch(dispatcher: MeshDispatcher): Fetch {
  return async (input, init) => {
    loaded ??= leavingBuiltIn(loadFetch);
    return loaded(input, init === undefined ? { dispatcher } : { dispatcher, ...init });
  };
}
