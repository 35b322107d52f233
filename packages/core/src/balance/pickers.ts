/** The balancing algorithm that a configuration names, over the endpoints of a cluster. */
import type { Reply } from "../call.ts";
import type { Cluster } from "../cluster/cluster.ts";
import type { Endpoint } from "../cluster/endpoint.ts";
import type { Stretch } from "../cluster/lists.ts";
import { rowCost } from "../cluster/latency.ts";
import { LOAD, type RowCost } from "../cluster/scores.ts";
import type { BalancerConfig } from "./options.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Picker } from "./picker.ts";
import { InTurn } from "./round-robin.ts";
import { TwoChoices } from "./two-choices.ts";

/** `stretch`: a picker of these endpoints alone. It must not be asked in panic. */
export function pickerOf<Req, R extends Reply>(
  cluster: Cluster<Req, R>,
  balancer: BalancerConfig,
  runtime: Runtime,
  stretch?: Stretch,
): Picker<Req, R> {
  switch (balancer.kind) {
    case "peak-ewma": {
      const cost = (endpoint: Endpoint<Req, R>, now: number): number =>
        endpoint.cost(now, cluster.peerMedian(now));
      const { decayMs } = balancer;
      const ofRow: RowCost = (numbers, at, now) =>
        rowCost(numbers, at, now, cluster.peerMedian(now), decayMs);
      return new TwoChoices(cluster.lists, cost, balancer.slowStartMs, runtime, ofRow, stretch);
    }
    case "least-request": {
      const cost = (endpoint: Endpoint<Req, R>): number =>
        (endpoint.inFlight + 1) / (endpoint.weight || 1);
      const ofRow: RowCost = (numbers, at) => numbers[at + LOAD]!;
      return new TwoChoices(cluster.lists, cost, balancer.slowStartMs, runtime, ofRow, stretch);
    }
    case "round-robin":
      return new InTurn(cluster.lists, runtime, false, stretch);
    case "random":
      return new InTurn(cluster.lists, runtime, true, stretch);
  }
}
