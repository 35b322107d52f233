/**
 * One deadline per call. It stands above retry, so it covers every attempt, the pauses between
 * them and the reply's body: the timer is disarmed where the call ends (Call.end), not where the
 * reply starts.
 */
import type { Call, DeadlineSource, Reply } from "../call.ts";
import { type MeshError, stacklessError } from "../errors.ts";
import type { Handler, Layer } from "../handler.ts";
import { STALL_MS, type Runtime } from "../runtime/runtime.ts";

/**
 * `timeoutMs` counts from the start of the call; an inherited deadline that comes earlier wins.
 * Infinity: only an inherited deadline applies. `streamTimeoutMs` takes its place for calls that stream.
 * `maxMs`: a call that asks for more time than `timeoutMs` gets it up to this.
 * `from`: who set both, the service or the route, which the call names.
 */
export function deadline<Req, R extends Reply>(
  timeoutMs: number,
  streamTimeoutMs: number,
  maxMs: number,
  from: DeadlineSource,
  runtime: Runtime,
): Layer<Call<Req>, R> {
  const expire = (call: Call<Req>): void => {
    const stalled = runtime.now() - call.deadlineAt > STALL_MS;
    call.cancel(expired(call), stalled || call.uncharged ? "abandoned" : "timeout");
  };
  return (inner: Handler<Call<Req>, R>) =>
    (call: Call<Req>): Promise<R> => {
      let ownMs = call.streaming ? streamTimeoutMs : timeoutMs;
      if (maxMs > ownMs && call.askedUntil > call.startedAt + ownMs) {
        ownMs = Math.min(call.askedUntil - call.startedAt, maxMs);
      }
      const at = call.startedAt + ownMs;
      if (at < call.deadlineAt) {
        call.deadlineAt = at;
        call.deadlineFrom = from;
        call.uncharged = false; // ours, whatever the later one was
      } else if (call.deadlineAt === Infinity) return inner(call);
      // Without an inherited deadline the remainder is the whole timeout: no second clock read.
      const remainingMs = call.deadlineAt === at ? ownMs : call.deadlineAt - runtime.now();
      if (remainingMs <= 0) throw expired(call);
      call.timer = runtime.after(remainingMs, expire, call);
      return inner(call);
    };
}

function expired(call: Call): MeshError {
  const address = call.attempt?.endpoint?.address;
  const where = address === undefined ? "" : ` → ${address}`;
  const afterMs = Math.round(call.deadlineAt - call.startedAt);
  const what =
    afterMs > 0
      ? `deadline exceeded after ${afterMs} ms (${sourceOf(call)})`
      : `its deadline had passed before it began (${sourceOf(call)})`;
  const message = `${call.service}${where}: ${what}`;
  return stacklessError("deadline_exceeded", "call_deadline", call.progress, message);
}

/** Where to look for the number. */
function sourceOf(call: Call): string {
  switch (call.deadlineFrom) {
    case "call":
      return "set by the call";
    case "served request":
      return "inherited from the request being served";
    case "route":
      return `timeouts.request of route ${call.route}`;
    case "service":
      return "timeouts.request of the service";
  }
}
