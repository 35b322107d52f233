import { describe, expect, it } from "vitest";
import { Scenario } from "../testing/scenario.ts";
import type { Telemetry } from "./telemetry.ts";

const broken = (where: "make" | "use"): Telemetry => {
  const fail = (): never => {
    throw new Error("the application's telemetry is broken");
  };
  const made = where === "make" ? fail : undefined;
  return {
    counter: made ?? (() => ({ add: fail })),
    histogram: made ?? (() => ({ record: fail })),
    gauge: made ?? (() => fail),
  };
};

describe("P2: an application's telemetry that throws", () => {
  it.each(["make", "use"] as const)(
    "when asked to %s, fails neither call nor close",
    async (where) => {
      const s = new Scenario({ seed: 1, endpoints: 2, telemetry: broken(where) });
      await s.load(100, 1000);
      expect(s.results.length).toBeGreaterThan(50);
      expect(s.results.every(({ code }) => code === 200)).toBe(true);
      await s.mesh.close(0);
    },
  );
});
