/**
 * Connections outlive the call that opens them, and Node emits the events of a socket in the
 * AsyncLocalStorage of the code that opened it: an `error` or `close` would be logged, hours later, with
 * the user and trace of a request that was over long ago. So sockets are opened here, in the context of
 * the import, which no caller has.
 */
import { AsyncResource } from "node:async_hooks";

const outside = new AsyncResource("inmesh.connection");

/** Runs `open` in no caller's context. What it creates keeps that. */
export function withoutCaller<R>(open: () => R): R {
  return outside.runInAsyncScope(open);
}
