/**
 * One deadline per call. It stands above retry, so it covers every attempt, the pauses between
 * them and the reply's body: the timer is disarmed where the call ends (Call.end), not where the
 * reply starts.
 */
import type { Call, Reply } from "../call.ts";
import { MeshError } from "../errors.ts";
import type { Handler, Layer } from "../handler.ts";
import type { Runtime } from "../runtime/runtime.ts";

/** A deadline missed by more than this was missed by our own event loop, not by the endpoint (B5). */
const STALL_MS = 25;

/**
 * `timeoutMs` counts from the start of the call; an inherited deadline that comes earlier wins.
 * Infinity: only an inherited deadline applies. `streamTimeoutMs` takes its place for calls that stream.
 * `maxMs`: a call that asks for more time than `timeoutMs` gets it up to this.
 */
export function deadline<Req, R extends Reply>(
  timeoutMs: number,
  streamTimeoutMs: number,
  maxMs: number,
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
        call.uncharged = false; // ours, whoever set the later one
      } else if (call.deadlineAt === Infinity) return inner(call);
      // Without an inherited deadline the remainder is the whole timeout: no second clock read.
      const remainingMs = call.deadlineAt === at ? ownMs : call.deadlineAt - runtime.now();
      if (remainingMs <= 0) throw expired(call);
      call.timer = runtime.after(remainingMs, expire, call);
      return inner(call);
    };
}

function expired(call: Call): MeshError {
  const attempt = call.attempt;
  const where = attempt?.endpoint === undefined ? "" : ` → ${attempt.endpoint.address}`;
  return new MeshError({
    code: "deadline_exceeded",
    reason: "call_deadline",
    message: `${call.service}${where}: deadline exceeded after ${Math.round(call.deadlineAt - call.startedAt)} ms`,
    progress: call.progress,
    stackless: true,
  });
}
