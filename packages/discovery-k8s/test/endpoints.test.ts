/** What is kept of a service as its slices change: always what all its slices together say, and no more work than that. */
import { addressOf, type EndpointInfo } from "@inmesh/core/spi/discovery";
import fc from "fast-check";
import { expect, it } from "vitest";
import { ServiceEndpoints, type ServiceState } from "../src/endpoints.ts";
import { readSlice, type Slice } from "../src/slice.ts";

const WANTED = { service: "shop/orders", port: "http", family: 4 } as const;

function sliceOf(
  name: string,
  endpoints: readonly object[],
  ports: readonly string[] = ["http"],
): Slice {
  const object = {
    metadata: {
      name,
      resourceVersion: "1",
      labels: { "kubernetes.io/service-name": "orders" },
    },
    addressType: "IPv4",
    ports: ports.map((one, i) => ({ name: one, port: 80 + i, protocol: "TCP" })),
    endpoints,
  };
  return readSlice(object)!;
}

function run(endpoints: ServiceEndpoints, slices: readonly Slice[]): [ServiceState, number] {
  const work = endpoints.update(slices);
  for (let steps = 0; ; steps++) {
    const { done, value } = work.next();
    if (done === true) return [value, steps];
  }
}

const byAddress = (infos: Iterable<EndpointInfo>): Map<string, EndpointInfo> =>
  new Map([...infos].map((info) => [addressOf(info), info]));

it("D8 CO: whatever the order of changes, it is what all slices together say", () => {
  // Few pods, addresses and slices, so that they meet in every way.
  const endpoint = fc.record({
    addresses: fc.constantFrom(["10.0.0.1"], ["10.0.0.2"], ["10.0.0.3"]),
    conditions: fc.record(
      { ready: fc.boolean(), serving: fc.boolean(), terminating: fc.boolean() },
      { requiredKeys: [] },
    ),
    targetRef: fc.constantFrom(undefined, { uid: "a" }, { uid: "b" }, { uid: "c" }),
    zone: fc.constantFrom(undefined, "x", "y"),
  });
  const slice = fc
    .tuple(
      fc.constantFrom("s1", "s2", "s3"),
      fc.array(endpoint, { maxLength: 4 }),
      fc.constantFrom(["http"], ["http"], ["http"], ["other", "http"], ["grpc"]),
    )
    .map((parts) => sliceOf(...parts));
  const step = fc.oneof(slice, fc.constantFrom("s1", "s2", "s3"));
  const property = fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
    const known = new Map<string, Slice>();
    const kept = new ServiceEndpoints(WANTED);
    /** As a cluster that hears of the differences has it. */
    const heard = new Map<string, EndpointInfo>();
    for (const one of steps) {
      if (typeof one === "string") known.delete(one);
      else known.set(one.name, one);
      const [state] = run(kept, [...known.values()]);
      const [fresh] = run(new ServiceEndpoints(WANTED), [...known.values()].toReversed());
      expect(state.why).toBe(fresh.why);
      expect(state.problem?.message).toBe(fresh.problem?.message);
      if (state.problem !== undefined) continue;
      expect([...state.endpoints].toSorted()).toEqual([...fresh.endpoints].toSorted());
      const { upserted, removed } = kept.changes();
      for (const info of removed) heard.delete(addressOf(info));
      for (const info of upserted) heard.set(addressOf(info), info);
      expect([...heard].toSorted()).toEqual([...byAddress(state.endpoints.values())].toSorted());
    }
  });
  fc.assert(property, { numRuns: 500 });
});

it("D11 CO: a change costs what its slice costs, among thousands of endpoints", () => {
  const at = (slice: number, count: number): object[] =>
    Array.from({ length: count }, (_, i) => ({
      addresses: [`10.0.${slice}.${i}`],
      targetRef: { uid: `${slice}-${i}` },
    }));
  const slices = Array.from({ length: 50 }, (_, i) => sliceOf(`s${i}`, at(i, 100)));
  const kept = new ServiceEndpoints(WANTED);
  const [, first] = run(kept, slices);
  expect(first).toBeGreaterThanOrEqual(5_000);
  expect(kept.changes().upserted).toHaveLength(5_000);
  slices[7] = sliceOf("s7", at(7, 101));
  const [state, steps] = run(kept, slices);
  expect(state.endpoints.size).toBe(5_001);
  expect(steps).toBeLessThan(600);
  const { upserted, removed } = kept.changes();
  expect(upserted.map(addressOf)).toEqual(["10.0.7.100:80"]);
  expect(removed).toEqual([]);
  expect(run(kept, slices)[1]).toBe(0);
});
