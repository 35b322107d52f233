/** Are the verdicts on failures so many that the verdicts are to be doubted? */
import type { Reply } from "../call.ts";
import { ejectionCap } from "../breaker/breaker.ts";
import type { Endpoint } from "./endpoint.ts";
import type { ClusterState } from "./state.ts";

/** `opened`: endpoints whose breaker has been open, among them all that are half-open. */
export function judgePanic<Req, R extends Reply>(
  { endpoints, lists, options, recorder }: ClusterState<Req, R>,
  opened: ReadonlyMap<Endpoint<Req, R>, unknown>,
): void {
  const leaving = lists.draining.length + lists.ending.length;
  const judged = endpoints.size - lists.down.length - leaving;
  const cap = ejectionCap(judged, options.breaker.maxEjectedRatio);
  let out = lists.ejected.length;
  if (out <= cap && out + opened.size > cap) {
    for (const endpoint of opened.keys()) {
      if (endpoint.breaker.state === "half-open" && endpoints.has(endpoint.key)) out++;
    }
  }
  const panic = out > cap;
  if (panic) recorder.suppressed();
  if (panic === lists.panic) return;
  lists.panic = panic;
  recorder.panic(panic);
}
