/**
 * Stands above the application's own layers, where there are any. One that never settles must not
 * keep a call for ever (P2): when the call is cancelled, by its deadline or because the mesh closes,
 * and the layers do not let that through, the caller gets the error without them.
 */
import type { Call, Reply } from "./call.ts";
import { stacklessError } from "./errors.ts";
import type { Handler, Layer } from "./handler.ts";
import type { Runtime } from "./runtime/runtime.ts";

/** Time for the cancelled attempt's own error, which says more, to come up through the layers. */
const GRACE_MS = 10;

/** `requestMs`: the service's, for a call that no layer has let through to its route in that time. */
export function outliveLayers<Req, R extends Reply>(
  requestMs: number,
  runtime: Runtime,
): Layer<Call<Req>, R> {
  const tooLate = (call: Call<Req>): void => {
    // Below the route the deadline has a timer of its own, and may allow more.
    if (call.route !== "") return;
    const message = `${call.service}: a layer of the application (callLayers) did not pass the call on in time`;
    const error = stacklessError("deadline_exceeded", "call_deadline", "not-sent", message);
    call.cancel(error, "abandoned");
  };
  return (inner) => (call) =>
    new Promise((resolve, reject) => {
      let settled = false;
      const timer = runtime.after(
        Math.min(requestMs, call.deadlineAt - call.startedAt),
        tooLate,
        call,
      );
      call.onCancelled = (error) => {
        runtime.after(
          GRACE_MS,
          () => {
            settled = true;
            reject(error);
          },
          undefined,
          true,
        );
      };
      // A layer that throws where it should reject does so here, inside the promise.
      inner(call).then(
        (reply) => {
          timer.cancel();
          if (settled) reply.discard();
          else resolve(reply);
        },
        (error: unknown) => {
          timer.cancel();
          reject(error);
        },
      );
    });
}

/** Ours refuse a call by throwing; what the application's layers call rejects, as they expect. */
export function neverThrow<In, Out>(inner: Handler<In, Out>): Handler<In, Out> {
  return (input) => {
    try {
      return inner(input);
    } catch (error) {
      return Promise.reject(error);
    }
  };
}
