/** Refuses calls above a fixed number in progress, before a timer is armed or a route matched. */
import type { Call, Reply } from "../call.ts";
import { type MeshError, stacklessError } from "../errors.ts";
import type { Layer } from "../handler.ts";
import type { RefusalLog } from "../refusal-log.ts";

/** Calls of one service in progress; the call record adds and removes them. */
export interface InFlight {
  readonly calls: number;
}

export function limit<Req, R extends Reply>(
  maxInFlight: number,
  inFlight: InFlight,
  refusals: RefusalLog | undefined,
): Layer<Call<Req>, R> {
  return (inner) => (call) => {
    if (inFlight.calls > maxInFlight) {
      refusals?.refused(() => `(concurrency): ${advice(maxInFlight)}`);
      throw tooMany(call, maxInFlight);
    }
    return inner(call);
  };
}

function tooMany({ service }: Call, maxInFlight: number): MeshError {
  const message = `${service}: ${advice(maxInFlight)}`;
  return stacklessError("overloaded", "concurrency", "not-sent", message);
}

function advice(maxInFlight: number): string {
  return `${maxInFlight} calls are in progress already (limits.maxInFlight): send less, or find out why they take so long`;
}
