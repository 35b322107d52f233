/** The lines of the log about breakers, discovery and refusals, in virtual time. */
import { describe, expect, it } from "vitest";
import type { EndpointSink } from "./discovery/discovery.ts";
import type { EndpointInfo } from "./endpoint-info.ts";
import type { LogLine } from "./log.ts";
import { createMesh } from "./mesh.ts";
import { Call } from "./call.ts";
import { RefusalLog } from "./refusal-log.ts";
import { Scenario, type ScenarioOptions } from "./testing/scenario.ts";
import { SimRuntime } from "./testing/sim-runtime.ts";
import { stubProtocol, StubRequest } from "./testing/stub-transport.ts";

function logged(options: Omit<ScenarioOptions, "seed" | "log">): {
  scenario: Scenario;
  lines: LogLine[];
  texts: (topic?: string) => string[];
} {
  const lines: LogLine[] = [];
  // What is said of the version of Node is another test's.
  const log = (line: LogLine): void => void (line.event.startsWith("runtime.") || lines.push(line));
  const scenario = new Scenario({ seed: 7, ...options, log });
  const texts = (topic = ""): string[] =>
    lines.filter(({ event }) => event.startsWith(topic)).map((l) => `${l.event} ${l.message}`);
  return { scenario, lines, texts };
}

/** A source that says what the test has it say. */
function spoken(known: readonly EndpointInfo[]) {
  let sink!: EndpointSink;
  const discovery = () => ({
    source: "spoken",
    watch(to: EndpointSink) {
      sink = to;
      to.replace(known);
      return { refresh() {}, stop() {} };
    },
  });
  return { discovery, say: () => sink };
}
const at = (i: number): EndpointInfo => ({ host: `10.0.0.${i}`, port: 80 });

describe("breakers", () => {
  it("B16 CO: an endpoint that fails and heals is ejected, probed and back: a line each, and none for a call", async () => {
    const { scenario, lines } = logged({ endpoints: 3 });
    await scenario.load(100, 5_000);
    expect(lines).toEqual([]);
    scenario.set("10.0.0.2:80", { kind: "fail-fast" });
    while (lines.length === 0) await scenario.load(100, 100);
    scenario.set("10.0.0.2:80", { kind: "ok" });
    await scenario.load(100, 30_000);
    expect(lines.map(({ event, level }) => `${level} ${event}`)).toEqual([
      "warn breaker.ejected",
      "info breaker.probing",
      "info breaker.recovered",
    ]);
    const about = { service: "orders", endpoint: "10.0.0.2:80" };
    for (const line of lines) expect(line).toMatchObject(about);
    expect(lines[0]!.message).toMatch(
      /^orders: 10\.0\.0\.2:80 gets no calls for [\dms.]+ \(\d+ failures in a row\); 2 of 3 endpoints get calls$/,
    );
    expect(lines[1]!.message).toBe(
      "orders: 10.0.0.2:80 gets one call, which decides whether it gets more",
    );
    expect(lines[2]!.message).toMatch(
      /^orders: 10\.0\.0\.2:80 gets calls again, after [\dms.]+; 3 of 3 endpoints get calls$/,
    );
    await scenario.mesh.close(0);
  });

  it("B16 CO: an endpoint that refuses connections is one line however often it is dialled, and one when it is back", async () => {
    const { scenario, texts } = logged({ endpoints: 3 });
    await scenario.load(100, 1_000);
    scenario.set("10.0.0.1:80", { kind: "refuse" });
    await scenario.load(100, 60_000);
    expect(texts()).toEqual([
      "breaker.ejected orders: 10.0.0.1:80 gets no calls until a connection comes about (no connection comes about); 2 of 3 endpoints get calls",
    ]);
    scenario.set("10.0.0.1:80", { kind: "ok" });
    await scenario.load(100, 20_000);
    expect(texts().slice(1)).toEqual([
      expect.stringMatching(
        /^breaker\.recovered orders: 10\.0\.0\.1:80 gets calls again, after [\dms.]+; 3 of 3 endpoints get calls$/,
      ),
    ]);
    await scenario.mesh.close(0);
  });

  it("B4 CO: when more fail than may be ejected, the log says that they get calls, and when that is over", async () => {
    const { scenario, texts } = logged({ endpoints: 4 });
    await scenario.load(200, 2_000);
    for (const address of scenario.addresses) scenario.set(address, { kind: "fail-fast" });
    await scenario.load(200, 3_000);
    expect(texts("balancer.")).toEqual([
      expect.stringMatching(
        /^balancer\.panic orders: more endpoints fail than breaker\.maxEjectedRatio allows .* 4 of 4 endpoints get calls$/,
      ),
    ]);
    for (const address of scenario.addresses) scenario.set(address, { kind: "ok" });
    await scenario.load(200, 90_000);
    expect(texts("balancer.").slice(1)).toEqual([
      "balancer.panic_over orders: endpoints that fail get no calls again; 2 of 4 endpoints get calls",
    ]);
    expect(texts().at(-1)).toMatch(/; (now )?4 of 4 endpoints get calls$/);
    await scenario.mesh.close(0);
  });

  it("D10 CO: endpoints that flap write 20 lines a minute, and how many were left out, and how things are", async () => {
    const { scenario, lines } = logged({
      endpoints: 10,
      service: { breaker: { minOpen: "100ms", maxOpen: "200ms" } },
    });
    await scenario.load(500, 1_000);
    const startedAt = scenario.runtime.now();
    for (let i = 0; i < 60; i++) {
      for (const address of scenario.addresses.slice(0, 5)) {
        scenario.set(address, { kind: i % 2 === 0 ? "refuse" : "ok" });
      }
      await scenario.load(500, 1_000);
    }
    await scenario.load(500, 1_000);
    const minutes = (scenario.runtime.now() - startedAt) / 60_000;
    expect(lines.length).toBeLessThanOrEqual(21 * Math.ceil(minutes));
    const omitted = lines.filter(({ event }) => event === "log.omitted");
    expect(omitted).toHaveLength(1);
    expect(omitted[0]!.message).toMatch(
      /^orders: \d{2,} lines were left out, beyond 20 a minute; now \d+ of 10 endpoints get calls$/,
    );
    await scenario.mesh.close(0);
  });
});

describe("discovery", () => {
  it("D1 CO: a source that fails is a line for each new reason, with what stays in use; so is its recovery", async () => {
    const { discovery, say } = spoken([at(1), at(2)]);
    const { scenario, texts } = logged({ endpoints: 0, discovery });
    scenario.call();
    for (let i = 0; i < 10; i++) {
      await scenario.runtime.advance(500);
      say().failed(new Error("SERVFAIL"));
    }
    say().failed(new Error("timed out"));
    await scenario.runtime.advance(7_000);
    say().replace([at(1), at(2), at(3)]);
    say().replace([at(1), at(2)]);
    await scenario.runtime.advance(1_000);
    expect(texts()).toEqual([
      "discovery.failed orders: discovery (spoken) fails: SERVFAIL. Calls go to the 2 endpoints that it named last",
      "discovery.failed orders: discovery (spoken) fails: timed out. Calls go to the 2 endpoints that it named last",
      "discovery.recovered orders: discovery (spoken) names 3 endpoints, after 11.5s of trouble",
    ]);
    await scenario.mesh.close(0);
  });

  it("D2 CO: a source that names none is a line, whatever it was before, and so is what it names then", async () => {
    const { discovery, say } = spoken([]);
    const { scenario, texts } = logged({ endpoints: 0, discovery });
    scenario.call();
    await scenario.runtime.advance(1_000);
    say().replace([]);
    await scenario.runtime.advance(1_000);
    say().failed(new Error("gone"));
    await scenario.runtime.advance(1_000);
    say().replace([], "the name does not exist");
    await scenario.runtime.advance(1_000);
    say().replace([at(1)]);
    await scenario.runtime.advance(1_000);
    expect(texts()).toEqual([
      "discovery.empty orders: discovery (spoken) says that there are no endpoints: calls fail until there are",
      "discovery.failed orders: discovery (spoken) fails: gone. Before that it named none, and calls fail",
      "discovery.empty orders: discovery (spoken) says that there are no endpoints (the name does not exist): calls fail until there are",
      "discovery.recovered orders: discovery (spoken) names 1 endpoint, after 4s of trouble",
    ]);
    await scenario.mesh.close(0);
  });

  it("D11 CO: endpoints beyond limits.maxEndpoints are a line for each other number of them", async () => {
    const { discovery, say } = spoken([at(1), at(2), at(3)]);
    const service = { limits: { maxEndpoints: 2 } };
    const { scenario, texts } = logged({ endpoints: 0, discovery, service });
    scenario.call();
    for (let i = 0; i < 3; i++) {
      await scenario.runtime.advance(1_000);
      say().replace([at(1), at(2), at(3)]);
    }
    expect(texts()).toEqual([
      "discovery.excess orders: 1 endpoint left out: limits.maxEndpoints is 2. Raise it, or have discovery name fewer",
    ]);
    await scenario.mesh.close(0);
  });
});

describe("refusals for load", () => {
  it("R12 CO: the first is written, the count once a minute, and the end with how many there were", async () => {
    const runtime = new SimRuntime(1);
    const lines: LogLine[] = [];
    const subject = { name: "orders", side: "server", noun: "request" } as const;
    const log = new RefusalLog(subject, runtime, (line) => lines.push(line));
    for (let i = 0; i < 90; i++) {
      log.refused(() => "(concurrency): advice");
      await runtime.advance(1_000);
    }
    await runtime.advance(60_000);
    log.refused(() => "(heap): advice");
    await runtime.advance(31_000);
    expect(lines.map(({ level, event, message }) => `${level} ${event} ${message}`)).toEqual([
      "warn server.refusing orders: a request is refused (concurrency): advice",
      "warn server.refusing orders: 60 requests were refused (concurrency): advice",
      "info server.accepting orders: no request has been refused for 30s; before that 90 requests were within 1m29s",
      "warn server.refusing orders: a request is refused (heap): advice",
      "info server.accepting orders: no request has been refused for 30s; before that 1 request was",
    ]);
  });

  it("calls above limits.maxInFlight of a service are logged in the same way", async () => {
    const lines: LogLine[] = [];
    const runtime = new SimRuntime(1);
    const mesh = createMesh({
      env: {},
      runtime,
      log: (line) => lines.push(line),
      config: { services: { orders: { url: "http://10.0.0.1:80", limits: { maxInFlight: 1 } } } },
    });
    const service = mesh.service(
      "orders",
      stubProtocol(() => {}),
    );
    const call = (): Promise<unknown> =>
      service.current(new Call("orders", new StubRequest("/", "GET"), true, true)).then(
        () => "ok",
        (error: { reason: string }) => error.reason,
      );
    void call();
    expect(await Promise.all([call(), call(), call()])).toEqual(Array(3).fill("concurrency"));
    await runtime.advance(40_000);
    expect(lines.filter(({ event }) => event.startsWith("service."))).toEqual([
      {
        level: "warn",
        event: "service.refusing",
        service: "orders",
        message:
          "orders: a call is refused (concurrency): 1 calls are in progress already (limits.maxInFlight): send less, or find out why they take so long",
      },
      {
        level: "info",
        event: "service.accepting",
        service: "orders",
        message: "orders: no call has been refused for 30s; before that 3 calls were",
      },
    ]);
    await mesh.close(0);
  });
});

it("P2 CO: without a log nothing is written or kept, and a log that throws hurts no call", async () => {
  for (const log of [
    undefined,
    () => {
      throw new Error("disk full");
    },
  ]) {
    const scenario = new Scenario({ seed: 7, endpoints: 3, ...(log && { log }) });
    scenario.set("10.0.0.2:80", { kind: "refuse" });
    await scenario.load(100, 5_000);
    expect(scenario.errors(0)).toBe(0);
    await scenario.mesh.close(0);
  }
});
