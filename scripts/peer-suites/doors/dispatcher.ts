/** Loaded before a test: the global dispatcher, of undici and of the built-in fetch, is the mesh's. */
import { Dispatcher, setGlobalDispatcher } from "undici";
import { meshFor } from "./mesh-of-everything.ts";

class Everything extends Dispatcher {
  override dispatch(
    options: Dispatcher.DispatchOptions,
    handler: Dispatcher.DispatchHandler,
  ): boolean {
    return meshFor(String(options.origin)).dispatcher.dispatch(options, handler);
  }
}

setGlobalDispatcher(new Everything());
