/**
 * Which HTTP/2 servers a grpc-js server binds: Node says through its diagnostics channel which server
 * begins to listen, and an AsyncLocalStorage whose call of `bindAsync` that belongs to. Both are public.
 * The channel is watched while an address is being bound, and at no other time.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { tracingChannel } from "node:diagnostics_channel";
import type { Http2Server } from "../internals.ts";

type Found = (http2: Http2Server) => void;

const binding = new AsyncLocalStorage<Found | undefined>();
let bindings = 0;

/** Only its first event is listened to: the server is there, and has no connection yet. */
const subscribers = {
  asyncStart(message: object): void {
    const found = binding.getStore();
    const { server } = message as { readonly server?: Partial<Http2Server> };
    // What else may be bound meanwhile is none of a grpc-js server's.
    if (found === undefined || typeof server?.updateSettings !== "function") return;
    found(server as Http2Server);
  },
};

/**
 * Runs `bind`, which binds asynchronously and then calls the function that it is given. `found` gets
 * of each HTTP/2 server that is bound until then.
 */
export function watchBinding(found: Found, bind: (bound: () => void) => void): void {
  const channel = tracingChannel<object>("net.server.listen");
  if (bindings++ === 0) channel.subscribe(subscribers as never);
  let over = false;
  const end = (): void => {
    if (over) return;
    over = true;
    if (--bindings === 0) channel.unsubscribe(subscribers as never);
  };
  try {
    binding.run(found, bind, end);
  } catch (error) {
    end();
    throw error;
  }
}

/** This code runs within `watchBinding` of a server of ours. */
export function isBoundByMesh(): boolean {
  return binding.getStore() !== undefined;
}

/** Outside of any binding: for what the application does when its address is bound. */
export function afterBinding(run: () => void): void {
  binding.run(undefined, run);
}
