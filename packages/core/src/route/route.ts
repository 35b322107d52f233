/** The layer that finds a call's route. Timeouts, retries and destinations are the route's, so it stands above them. */
import type { Call, CallRecorder, Reply } from "../call.ts";
import type { Handler } from "../handler.ts";
import type { RouteFacts } from "./facts.ts";
import type { RouteTable } from "./table.ts";

/** A route as running parts. */
export interface CompiledRoute<Req, R extends Reply> {
  readonly name: string;
  readonly idempotent: boolean;
  readonly recorder: CallRecorder;
  readonly send: Handler<Call<Req>, R>;
}

export function route<Req extends RouteFacts, R extends Reply>(
  table: RouteTable<CompiledRoute<Req, R>>,
): Handler<Call<Req>, R> {
  return (call) => {
    const match = table.match(call.request);
    call.route = match.name;
    call.recorder = match.recorder;
    if (match.idempotent) call.idempotent = true;
    return match.send(call);
  };
}
