import { describe, expect, it } from "vitest";
import { Attempt, Call } from "../call.ts";
import { Endpoint } from "../cluster/endpoint.ts";
import { EndpointLists, LIST_AVAILABLE, LIST_SPARE } from "../cluster/lists.ts";
import { DEFAULT_POLICIES } from "../config/defaults.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { InTurn } from "./round-robin.ts";

const endpointOf = (i: number, weight = 1): Endpoint<unknown, never> => {
  const info = { host: `10.0.0.${i}`, port: 80, weight };
  return new Endpoint(info.host, info, DEFAULT_POLICIES.balancer, DEFAULT_POLICIES.breaker);
};
const attemptOf = (): Attempt => new Attempt(new Call("orders", undefined, true, true), 1, "first");

describe("InTurn", () => {
  it("takes each in turn, and none twice for one call", () => {
    const lists = new EndpointLists<unknown, never>();
    for (let i = 0; i < 4; i++) lists.put(endpointOf(i), LIST_AVAILABLE);
    const picker = new InTurn(lists, new SimRuntime(2), false);
    const picks = Array.from({ length: 8 }, () => picker.pick(attemptOf(), 0));
    expect(new Set(picks.slice(0, 4)).size).toBe(4);
    expect(picks.slice(4)).toEqual(picks.slice(0, 4));
    const attempt = attemptOf();
    attempt.call.tried = lists.available.slice(0, 3);
    expect(picker.pick(attempt, 0)).toBe(lists.available[3]);
  });

  it.each([false, true])("half-open lets one probe through, shuffled %s", (shuffled) => {
    const lists = new EndpointLists<unknown, never>();
    const [probed, spare] = [endpointOf(0), endpointOf(1, 0)];
    lists.put(probed, LIST_AVAILABLE);
    lists.put(spare, LIST_SPARE);
    probed.breaker.open(0, "streak", 1000);
    probed.breaker.halfOpen(1000);
    const picker = new InTurn(lists, new SimRuntime(2), shuffled);
    const attempt = attemptOf();
    expect(picker.pick(attempt, 1000)).toBe(probed);
    probed.probe = attempt;
    expect(picker.pick(attemptOf(), 1000)).toBe(spare);
  });
});
