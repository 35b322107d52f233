/** What a route that fails all the time leaves to the others of its service. */
import { describe, expect, it } from "vitest";
import { Call } from "../call.ts";
import { createMesh } from "../mesh.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { StubRequest, stubProtocol } from "../testing/stub-transport.ts";
import { RetryBudget } from "./budget.ts";

const OPTIONS = { ratio: 0.2, minPerSecond: 1, windowMs: 10_000 };

function drain(budget: { withdraw(): boolean }): number {
  let taken = 0;
  while (budget.withdraw()) taken++;
  return taken;
}

/**
 * For 60 s of virtual time 40 calls a second of `/broken`, which always fails, and 10 of `/orders`, one in
 * ten of which fails at the first endpoint that it reaches. How many of the latter failed in the end?
 */
async function failedBeside(routes: boolean): Promise<{ failed: number; retries: number }> {
  const runtime = new SimRuntime(5);
  let orders = 0;
  const protocol = stubProtocol((exchange) => {
    const { call, number } = exchange.attempt;
    const path = (call.request as StubRequest).pathname;
    const fails = path === "/broken" || (number === 1 && orders++ % 10 === 0);
    if (fails) exchange.reply("failure", 503);
    else exchange.reply();
  });
  const mesh = createMesh({ env: {}, runtime });
  const service = mesh.service("orders", protocol, {
    discovery: { static: ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"] },
    breaker: { maxEjectedRatio: 0 },
    ...(routes && { routes: [{ name: "broken", matches: [{ path: { value: "/broken" } }] }] }),
  });
  let failed = 0;
  const send = (path: string): void => {
    const call = new Call("orders", new StubRequest(path, "GET"), true, true);
    void service.current(call).then(({ code }) => {
      if (code !== 200 && path === "/orders") failed++;
    });
  };
  for (let i = 0; i < 600; i++) {
    for (let n = 0; n < 4; n++) send("/broken");
    send("/orders");
    await runtime.advance(100);
  }
  return { failed, retries: mesh.snapshot().services[0]!.retryBudget.withdrawn };
}

describe("a route that fails all the time", () => {
  it("R18 CO: leaves to the others what their calls have paid, and half of the reserve", async () => {
    const alone = await failedBeside(false);
    expect(alone.failed).toBeGreaterThan(20);
    const { failed, retries } = await failedBeside(true);
    expect(failed).toBe(0);
    // The load on the servers is bounded as before: a fifth of the calls, and one a second.
    expect(retries).toBeLessThanOrEqual(0.2 * 3_000 + 60 + 10);
  });

  it("R18 CO: spends what its own calls have paid, and half of the reserve", () => {
    const runtime = new SimRuntime(1);
    const budget = new RetryBudget(OPTIONS, runtime);
    const [broken, busy] = [budget.forRoute(), budget.forRoute()];
    for (let i = 0; i < 50; i++) broken.deposit(0);
    for (let i = 0; i < 100; i++) busy.deposit(0);
    expect(budget.balance()).toBe(40);
    expect(drain(broken)).toBe(15);
    expect(budget.refused).toBe(1);
    expect(drain(busy)).toBe(25);
    expect(budget.balance()).toBe(0);
  });

  it("R18 CO: all routes together spend no more than the service has", () => {
    const runtime = new SimRuntime(1);
    const budget = new RetryBudget(OPTIONS, runtime);
    const taken = Array.from({ length: 5 }, () => drain(budget.forRoute()));
    expect(taken).toEqual([5, 5, 0, 0, 0]);
  });

  it("R18 CO: what it spent is forgotten with the window", async () => {
    const runtime = new SimRuntime(1);
    const budget = new RetryBudget(OPTIONS, runtime);
    const route = budget.forRoute();
    expect(drain(route)).toBe(5);
    await runtime.advance(10_000);
    expect(drain(route)).toBe(5);
  });

  it("R18 CO: a reserve of one retry can be used, and a ratio of 0 leaves the reserve alone", () => {
    const runtime = new SimRuntime(1);
    const one = new RetryBudget({ ...OPTIONS, minPerSecond: 0.1 }, runtime);
    expect(drain(one.forRoute())).toBe(1);
    const reserve = new RetryBudget({ ...OPTIONS, ratio: 0 }, runtime).forRoute();
    for (let i = 0; i < 100; i++) reserve.deposit(0);
    expect(drain(reserve)).toBe(5);
  });
});
