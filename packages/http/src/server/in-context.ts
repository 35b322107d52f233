/**
 * Where a handler and its listeners run, so that the calls they make inherit from the request. `run`
 * of AsyncLocalStorage copies the context twice, to enter and to restore it. In the callback in which an
 * HTTP/2 stream comes Node restores it by itself: entering is enough there, and a request pays half.
 */
import { executionAsyncId } from "node:async_hooks";
import { EventEmitter } from "node:events";
import { CALLBACKS_RESTORE, context, type ServedRequest } from "@inmesh/core/spi";

/** On every response, and requests that need it: one function serves them all. */
export const INBOUND: unique symbol = Symbol("inmesh.inbound");
export interface WithContext {
  [INBOUND]?: ServedRequest;
}

/** What is entered: a request, and how its connection is called back. */
export interface EnteredRequest extends ServedRequest {
  readonly connection: { readonly callbackId: number | undefined };
}

/** Of the callback that is running; −1 if what it enters would not be restored. */
export function callbackId(): number {
  return CALLBACKS_RESTORE ? executionAsyncId() : -1;
}

export function serveInContext<I extends EnteredRequest, T>(
  inbound: I,
  inner: (inbound: I) => T,
): T {
  const { connection } = inbound;
  // Applications may emit requests themselves: only inside Node's own callback it is restored for us.
  if (connection.callbackId !== undefined && executionAsyncId() === connection.callbackId) {
    context.enterWith(inbound);
    return inner(inbound);
  }
  return context.run(inbound, inner, inbound);
}

/**
 * Events of a request come from its socket's reads, in the context that opened the socket. With this
 * as its `emit` the listeners of a handler run in the handler's own.
 */
export function emitInContext(this: WithContext & EventEmitter, ...event: never[]): boolean {
  const inbound = this[INBOUND]!;
  return context.getStore() === inbound
    ? emitOf(this, event)
    : context.run(inbound, emitOf, this, event);
}

/** Runs what emits the last events of a message. Without a handler, or inside its context, at once. */
export function runInContext<T extends WithContext>(message: T, run: (message: T) => void): void {
  const inbound = message[INBOUND];
  if (inbound === undefined || context.getStore() === inbound) run(message);
  else context.run(inbound, run, message);
}

function emitOf(emitter: EventEmitter, event: never[]): boolean {
  return EventEmitter.prototype.emit.apply(emitter, event as never);
}
