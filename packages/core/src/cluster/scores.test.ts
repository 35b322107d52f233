import { expect, test } from "vitest";
import { DEFAULT_POLICIES } from "../config/defaults.ts";
import { Endpoint } from "./endpoint.ts";
import { rowCost } from "./latency.ts";
import { EndpointLists, LIST_AVAILABLE, LIST_EJECTED } from "./lists.ts";
import { LOAD, rowAt } from "./scores.ts";

const { balancer, breaker } = DEFAULT_POLICIES;
const G = 30;

function endpointOf(i: number): Endpoint {
  const endpoint = new Endpoint(`e${i}`, { host: `10.0.0.${i}`, port: 80 }, balancer, breaker);
  endpoint.latency.observe(1_000, i + 1, false, G);
  endpoint.inFlight = i % 3;
  return endpoint;
}

/** Every row says what its endpoint says. */
function agree(lists: EndpointLists<unknown, never>, now: number): void {
  for (const [i, endpoint] of lists.available.entries()) {
    expect(endpoint.slot).toBe(i);
    expect(rowCost(lists.scores.numbers, rowAt(i), now, G, balancer.decayMs)).toBeCloseTo(
      endpoint.cost(now, G),
      9,
    );
  }
}

test("rows follow their endpoints through growth, gaps and returns", () => {
  const lists = new EndpointLists<unknown, never>();
  const endpoints = Array.from(
    { length: 100 },
    (_, i) => endpointOf(i) as Endpoint<unknown, never>,
  );
  for (const one of endpoints) lists.put(one, LIST_AVAILABLE);
  agree(lists, 2_000);
  for (const one of endpoints.filter((_, i) => i % 3 === 0)) lists.put(one, LIST_EJECTED);
  for (const one of endpoints) one.latency.observe(3_000, 50, false, G);
  agree(lists, 4_000);
  for (const one of endpoints) lists.put(one, LIST_AVAILABLE);
  expect(lists.available).toHaveLength(100);
  agree(lists, 5_000);
});

test("a row asks for a closer look while its endpoint is busy, ramping, penalised or not closed", () => {
  const lists = new EndpointLists<unknown, never>();
  const endpoint = endpointOf(1) as Endpoint<unknown, never>;
  lists.put(endpoint, LIST_AVAILABLE);
  const plain = (): boolean => lists.scores.numbers[rowAt(0) + LOAD]! > 0;
  expect(plain()).toBe(true);
  endpoint.busyUntil = 2_000;
  expect(plain()).toBe(false);
  endpoint.review(2_000);
  expect(plain()).toBe(true);
  endpoint.rampUntil = 3_000;
  endpoint.review(2_500);
  expect(plain()).toBe(false);
  endpoint.review(3_000);
  expect(plain()).toBe(true);
  endpoint.latency.penalise(3_000, 10, G);
  expect(plain()).toBe(false);
  endpoint.inFlight++;
  expect(plain()).toBe(false);
  endpoint.latency.reset();
  endpoint.breaker.halfOpen(3_000);
  endpoint.publish();
  expect(plain()).toBe(false);
});
