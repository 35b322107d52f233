/** Answers of several processes as one: the real answers of real meshes, read as JSON as they are sent. */
import { describe, expect, it, onTestFinished } from "vitest";
import { createMesh, type Mesh } from "../mesh.ts";
import { Inspection } from "./inspection.ts";
import type {
  About,
  Answer,
  Checks,
  Config,
  Connections,
  DiscoveryAnswer,
  Dump,
  Endpoints,
  EndpointView,
  Services,
  ServiceView,
  Traffic,
} from "./api.ts";
import { mergeAnswers } from "./merge.ts";
import { histogramOf } from "./window.ts";

const CONTEXT = { version: "0.1.0", resources: [], may: [] };

function inspected(): Inspection {
  const mesh: Mesh = createMesh({
    env: {},
    config: { services: { orders: { discovery: { static: ["127.0.0.1:1", "127.0.0.1:2"] } } } },
  });
  onTestFinished(() => mesh.close(0));
  return new Inspection(mesh);
}

/** As it is sent: lists are made, and what is undefined is left out. */
function sent<A>(answer: object): A {
  const made = (value: unknown): unknown => {
    if (typeof value !== "object" || value === null) return value;
    if (Symbol.iterator in value) return [...(value as Iterable<unknown>)].map(made);
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, made(one)]));
  };
  return JSON.parse(JSON.stringify(made(answer))) as A;
}

const merge = <A extends Answer>(...answers: A[]): A =>
  mergeAnswers(answers.map((answer, i) => ({ from: `worker ${i + 1}`, answer })));

describe("answers of several processes", () => {
  it("stand for exactly those that answered", () => {
    const [one, two] = [inspected(), inspected()];
    const about = (of: Inspection): About => sent(of.about(CONTEXT));
    const both = merge(about(one), about(two));
    expect(merge(about(two), about(one)).instance).toBe(both.instance);
    expect(merge(about(one)).instance).not.toBe(both.instance);
    expect(both.uptimeMs).toBeGreaterThan(0);
    expect(both.process.rssBytes).toBeGreaterThan(about(one).process.rssBytes * 1.5);
    expect(() => merge<Answer>(about(one), sent(one.config()))).toThrow("cannot be merged");
  });

  it("keep their shape, whatever is asked", async () => {
    const all = [inspected(), inspected()];
    const shape = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.slice(0, 1).map(shape);
      if (typeof value !== "object" || value === null) return typeof value;
      return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, shape(one)]));
    };
    const dumps = await Promise.all(all.map(async (one) => sent<Dump>(await one.dump(CONTEXT))));
    expect(shape(merge(...dumps))).toEqual(shape(dumps[0]));
    for (const ask of [
      (one: Inspection) => one.currentLogLevel(),
      (one: Inspection) => one.changeLogLevel({ level: "debug", forMs: 60_000 }, "a test"),
      (one: Inspection) => one.changeLogLevel(undefined, "a test"),
    ]) {
      const answers = all.map((one) => sent<Answer>(ask(one)));
      expect(shape(sent(merge(...answers)))).toEqual(shape(answers[0]));
    }
  });

  it("add traffic up, and quantiles are those of the sum", () => {
    const bounds = [0.1, 1];
    const counts = { total: 4, success: 3, failure: 1, timeout: 0, overloaded: 0, abandoned: 0 };
    const traffic = (inBuckets: number[], sumSeconds: number): Traffic => ({
      calls: counts,
      callLatency: histogramOf(inBuckets, sumSeconds, bounds),
      attempts: counts,
      attemptLatency: histogramOf(inBuckets, sumSeconds, bounds),
      attemptKinds: { first: 3, retry: 1, resend: 0, hedge: 0 },
      retryDecisions: { sent: 1 },
      callReasons: { [`r${sumSeconds}`]: 1 },
      attemptReasons: {},
      callStatuses: { "2xx": 4 },
    });
    const service = (more: Partial<ServiceView>, of: Traffic): ServiceView => ({
      name: "orders",
      protocol: "http",
      state: "connected",
      notes: [],
      endpoints: { total: 2, available: 2, open: 0, refusing: 0, halfOpen: 0, draining: 0 },
      connections: { open: 3, problem: undefined },
      scheme: "http",
      callsInFlight: 1,
      maxInFlight: 10,
      panic: false,
      discovery: { source: "static", state: "current", error: undefined },
      zones: { mode: "all", why: "", shares: [] },
      retryBudget: { balance: 5, refused: 1, withdrawn: 2 },
      traffic: of,
      routes: [{ name: "default", backends: [], traffic: of }],
      ...more,
    });
    const answer = (...services: ServiceView[]): Services => ({
      ...sent<Answer>(inspected().about(CONTEXT)),
      kind: "Services",
      measured: true,
      latencyBoundsSeconds: bounds,
      services,
      servers: [],
    });
    const bad = { total: 2, available: 1, open: 1, refusing: 0, halfOpen: 0, draining: 0 };
    const { services } = merge(
      answer(service({}, traffic([4, 0, 0], 1))),
      answer(
        service(
          { state: "unreachable", notes: ["1 of 2 endpoints has an open breaker"], endpoints: bad },
          traffic([0, 4, 0], 2),
        ),
        service({ name: "alone" }, traffic([1, 0, 0], 1)),
      ),
    );
    expect(services.map(({ name }) => name)).toEqual(["alone", "orders"]);
    const [, orders] = services as [ServiceView, ServiceView];
    expect(orders).toMatchObject({
      state: "unreachable",
      notes: ["worker 2: 1 of 2 endpoints has an open breaker"],
      endpoints: bad,
      connections: { open: 6 },
      callsInFlight: 2,
      maxInFlight: 20,
      retryBudget: { balance: 10, refused: 2, withdrawn: 4 },
      traffic: {
        calls: { total: 8, success: 6, failure: 2 },
        callLatency: { count: 8, sumSeconds: 3, counts: [4, 4, 0] },
        attemptKinds: { first: 6, retry: 2 },
        retryDecisions: { sent: 2 },
        callReasons: { r1: 1, r2: 1 },
      },
      routes: [{ name: "default", traffic: { calls: { total: 8 } } }],
    });
    expect(orders.traffic!.callLatency).toEqual(histogramOf([4, 4, 0], 3, bounds));
  });

  it("show the worst state of an endpoint, and say whose it is", () => {
    const head = sent<Answer>(inspected().about(CONTEXT));
    const view = (more: Partial<EndpointView>): EndpointView => ({
      service: "orders",
      protocol: "http",
      address: "10.0.0.1:80",
      host: "10.0.0.1",
      port: 80,
      zone: undefined,
      weight: 1,
      state: "available",
      why: undefined,
      breaker: {
        state: "closed",
        trigger: undefined,
        changedAgoMs: undefined,
        nextProbeInMs: 0,
        consecutiveFailures: 0,
      },
      cost: 1,
      inFlight: 2,
      picks: 10,
      share: 1,
      latencyMs: 4,
      penaltyMs: 0,
      busyForMs: 0,
      rampRatio: 1,
      ageMs: 10,
      connections: 1,
      ...more,
    });
    const answer = (...endpoints: EndpointView[]): Endpoints => ({
      ...head,
      kind: "Endpoints",
      endpoints,
    });
    const merged = merge(
      answer(view({}), view({ address: "10.0.0.2:80", picks: 20 })),
      answer(view({ state: "open", why: "open since 4s", latencyMs: 8, connections: undefined })),
    );
    expect(merged.endpoints).toMatchObject([
      {
        address: "10.0.0.1:80",
        state: "open",
        why: "worker 2: open since 4s",
        inFlight: 4,
        picks: 20,
        share: 0.5,
        latencyMs: 6,
      },
      { address: "10.0.0.2:80", state: "available", why: undefined, share: 0.5 },
    ]);
    expect(merged.endpoints[0]!.connections).toBeUndefined();
  });

  it("say of checks, discovery and configuration what is worst", async () => {
    const one = inspected();
    const checks = sent<Checks>(await one.checks());
    const failed: Checks = {
      ...checks,
      checks: checks.checks.map((check) =>
        check.id === "configuration-current"
          ? { ...check, status: "failure", message: "no" }
          : check,
      ),
    };
    const merged = merge(checks, failed);
    expect(merged.status).toBe("failure");
    expect(merged.failures).toBe(1);
    expect(merged.checks).toHaveLength(checks.checks.length);
    expect(merged.checks.find(({ id }) => id === "configuration-current")).toMatchObject({
      status: "failure",
      message: "worker 2: no",
    });
    const config = sent<Config>(one.config());
    expect(merge<Config>(config, { ...config, state: "refused" }).state).toBe("refused");
    const head = sent<Answer>(one.about(CONTEXT));
    const discovery = (state: "current" | "stale", answeredAgoMs: number): DiscoveryAnswer => ({
      ...head,
      kind: "Discovery",
      services: [
        {
          service: "orders",
          protocol: "http",
          source: "dns",
          state,
          error: state === "stale" ? "no answer" : undefined,
          asks: "dns orders:80",
          endpoints: 2,
          answeredAgoMs,
          failedAgoMs: undefined,
          answers: 1,
          added: 2,
          removed: 0,
          errors: 0,
          excess: 0,
        },
      ],
    });
    expect(merge(discovery("current", 1), discovery("stale", 900)).services).toMatchObject([
      {
        state: "stale",
        error: "worker 2: no answer",
        answeredAgoMs: 900,
        answers: 2,
        endpoints: 2,
      },
    ]);
    const connections = (open: number | undefined): Connections => ({
      ...head,
      kind: "Connections",
      outbound: [],
      inbound: [{ server: "in", protocol: "http", open, sessions: 0 }],
    });
    expect(merge(connections(1), connections(2)).inbound).toMatchObject([{ open: 3 }]);
    expect(merge(connections(1), connections(undefined)).inbound[0]!.open).toBeUndefined();
  });
});
