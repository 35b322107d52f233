import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Call } from "./call.ts";
import { inheritedDeadlineAt, ServedRequest } from "./context.ts";
import { MeshError } from "./errors.ts";
import { createMesh } from "./mesh.ts";
import { SimRuntime } from "./testing/sim-runtime.ts";
import { StubRequest, stubProtocol } from "./testing/stub-transport.ts";

const callOf = (): Call => new Call("orders", new StubRequest("/"), true, true);

describe("ServedRequest", () => {
  it("a call that is in progress when the caller leaves is cancelled, once, in any order of ends", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(9), { maxLength: 20 }), (ends) => {
        const served = new ServedRequest();
        const calls = Array.from({ length: 10 }, callOf);
        for (const call of calls) served.adopt(call);
        for (const i of ends) calls[i]!.end("success");
        served.leave();
        served.leave();
        for (const [i, call] of calls.entries()) {
          expect(call.cancelled !== undefined).toBe(!ends.includes(i));
          expect([call.previousAdopted, call.nextAdopted]).toEqual([undefined, undefined]);
        }
      }),
    );
  });

  it("a call adopted afterwards is refused before anything is sent, and counted as abandoned", async () => {
    const runtime = new SimRuntime(1);
    let sent = 0;
    const protocol = stubProtocol(() => void sent++);
    const mesh = createMesh({ env: {}, runtime });
    const service = mesh.service("orders", protocol, { discovery: { static: ["10.0.0.1:80"] } });
    const served = new ServedRequest();
    served.leave();
    const call = new Call("orders", new StubRequest("/"), true, true);
    served.adopt(call as Call);
    await expect(service.current(call)).rejects.toMatchObject({
      code: "cancelled",
      reason: "caller",
      progress: "not-sent",
    });
    expect(sent).toBe(0);
    const calls = mesh
      .metrics()
      .find(({ name, labels }) => name === "inmesh.calls" && labels["outcome"]);
    expect(calls).toMatchObject({ labels: { outcome: "abandoned", reason: "caller" }, value: 1 });
  });

  it("an attempt in progress ends in the same turn, abandoned", async () => {
    const runtime = new SimRuntime(1);
    const protocol = stubProtocol(() => {});
    const mesh = createMesh({ env: {}, runtime });
    const service = mesh.service("orders", protocol, { discovery: { static: ["10.0.0.1:80"] } });
    const served = new ServedRequest();
    const call = new Call("orders", new StubRequest("/"), true, true);
    served.adopt(call as Call);
    let error: unknown;
    service.current(call).catch((reason: unknown) => (error = reason));
    await runtime.advance(10);
    served.leave();
    expect(call.attempt!.outcome).toBe("abandoned");
    await runtime.advance(0);
    expect(error).toBeInstanceOf(MeshError);
    expect(mesh.snapshot().services[0]!.callsInFlight).toBe(0);
  });
});

describe("final replies", () => {
  const run = async (final: boolean, attempts: number): Promise<[number, boolean]> => {
    const runtime = new SimRuntime(1);
    let sent = 0;
    const protocol = stubProtocol((exchange) => {
      sent++;
      exchange.reply("failure", 503, { final });
    });
    const service = createMesh({ env: {}, runtime }).service("orders", protocol, {
      discovery: { static: ["10.0.0.1:80", "10.0.0.2:80"] },
      retry: { attempts },
    });
    const served = new ServedRequest();
    const call = new Call("orders", new StubRequest("/"), true, true);
    served.adopt(call as Call);
    service.current(call).catch(() => {});
    await runtime.advance(5_000);
    return [sent, served.exhausted];
  };

  it("are not retried, and make the request that waits for them final too", async () => {
    expect(await run(true, 2)).toEqual([1, true]);
  });

  it("a hop that has retried says so; one that may not retry leaves it to those above", async () => {
    expect(await run(false, 2)).toEqual([2, true]);
    expect(await run(false, 1)).toEqual([1, false]);
  });
});

describe("an inherited deadline", () => {
  it("is earlier by 10 ms, or by 5 % of what is left", () => {
    expect(inheritedDeadlineAt(new ServedRequest({ deadlineAt: 1_000 }), 0)).toBe(990);
    expect(inheritedDeadlineAt(new ServedRequest({ deadlineAt: 100 }), 0)).toBe(95);
    expect(inheritedDeadlineAt(new ServedRequest(), 0)).toBe(Infinity);
  });

  it.each([
    [true, "abandoned"],
    [false, "timeout"],
  ])(
    "a deadline of an untrusted caller (%s) settles the attempt as %s; the route's own is charged",
    async (untrusted, outcome) => {
      const runtime = new SimRuntime(1);
      const protocol = stubProtocol(() => {});
      const service = createMesh({ env: {}, runtime }).service("orders", protocol, {
        discovery: { static: ["10.0.0.1:80"] },
      });
      for (const [deadlineAt, expected] of [
        [runtime.now() + 100, outcome],
        [runtime.now() + 1e9, "timeout"],
      ] as const) {
        const call = new Call("orders", new StubRequest("/"), true, true, deadlineAt);
        call.uncharged = untrusted;
        service.current(call).catch(() => {});
        await runtime.advance(20_000);
        expect(call.attempt!.outcome).toBe(expected);
      }
    },
  );
});
