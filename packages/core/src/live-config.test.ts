import { describe, expect, it } from "vitest";
import { Call } from "./call.ts";
import type { MeshInput, ServiceInput } from "./config/input.ts";
import { ConfigError } from "./config/mistakes.ts";
import type { ServiceConfig } from "./config/types.ts";
import type { EndpointSink } from "./discovery/discovery.ts";
import type { EndpointInfo } from "./endpoint-info.ts";
import { MeshError } from "./errors.ts";
import type { LogLine } from "./log.ts";
import { createMesh } from "./mesh.ts";
import type { MeshOptions } from "./mesh-options.ts";
import { SimRuntime } from "./testing/sim-runtime.ts";
import {
  StubRequest,
  stubProtocol,
  type StubExchange,
  type StubServer,
} from "./testing/stub-transport.ts";

interface Sent {
  code: number;
  error: MeshError | undefined;
  at: number;
}

const ok: StubServer = (exchange) => exchange.reply();
const inTurn: ServiceInput = { balancer: { kind: "round-robin" } };
const list = (...hosts: number[]): ServiceInput => ({
  discovery: { static: hosts.map((i) => `10.0.0.${i}:80`) },
});
const orders = (input: ServiceInput, others: Record<string, ServiceInput> = {}): MeshInput => ({
  services: { orders: { ...list(1, 2), ...input }, ...others },
});

function setUp(config: MeshInput | undefined, serve: StubServer = ok, more: MeshOptions = {}) {
  const runtime = new SimRuntime(5);
  const log: LogLine[] = [];
  const mesh = createMesh({
    env: {},
    runtime,
    ...(config && { config }),
    log: (line) => void (line.event.startsWith("config.") && log.push(line)),
    ...more,
  });
  const hosts: string[] = [];
  const connected: ServiceConfig[] = [];
  const closed: string[] = [];
  const stub = stubProtocol((exchange, address) => {
    hosts.push(address);
    serve(exchange, address);
  });
  const protocol: typeof stub = {
    name: "stub",
    transport: (service, clock) => {
      const inner = stub.transport(service, clock);
      return {
        connect(endpoint) {
          connected.push(service);
          const connection = inner.connect(endpoint);
          const close = connection.close.bind(connection);
          connection.close = (graceMs) => {
            closed.push(`${endpoint.host} ${graceMs}`);
            return close(graceMs);
          };
          return connection;
        },
      };
    },
  };
  const send = (name = "orders", path = "/", method = "GET"): Sent => {
    const sent: Sent = { code: 0, error: undefined, at: -1 };
    const call = new Call(name, new StubRequest(path, method), method === "GET", true);
    services
      .get(name)!
      .current(call)
      .then(
        (reply) => Object.assign(sent, { code: reply.code, at: runtime.now() }),
        (error: MeshError) => Object.assign(sent, { error, at: runtime.now() }),
      );
    return sent;
  };
  const services = new Map<string, ReturnType<typeof open>>();
  const open = (name: string, input?: ServiceInput) => {
    const service = mesh.service(name, protocol, input);
    services.set(service.name, service);
    return service;
  };
  const state = (name = "orders") => mesh.snapshot().services.find((one) => one.name === name)!;
  const endpoint = (i: number) =>
    state().endpoints.find(({ address }) => address === `10.0.0.${i}:80`)!;
  const series = (metric: string) =>
    mesh
      .metrics()
      .filter((one) => one.name === metric)
      .map((one) => ({ labels: one.labels, value: "value" in one ? one.value : one.count }));
  return { runtime, mesh, log, hosts, connected, closed, send, open, state, endpoint, series };
}

async function calls({ send, runtime }: ReturnType<typeof setUp>, count: number): Promise<void> {
  for (let i = 0; i < count; i++) send();
  await runtime.advance(1);
}

describe("mesh.update", () => {
  it("applies all or nothing, and names every mistake", async () => {
    const world = setUp(orders({ timeouts: { requestMs: 500 } }));
    const service = world.open("orders");
    const pipeline = service.current;
    const wrong = {
      services: {
        orders: { ...list(3), timeouts: { requestMs: 0 } },
        bills: { retry: { attempts: 99 } },
      },
    };
    let error: unknown;
    try {
      world.mesh.update(wrong);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(ConfigError);
    expect((error as ConfigError).mistakes.map(({ path }) => path).toSorted()).toEqual([
      "services.bills",
      "services.bills.retry.attempts",
      "services.orders.timeouts.requestMs",
    ]);
    expect(service.current).toBe(pipeline);
    expect(service.config.timeouts.requestMs).toBe(500);
    expect(world.mesh.snapshot().config.version).toBe(1);
    expect(world.series("inmesh.config.updates")).toEqual([
      { labels: { source: "code", result: "refused" }, value: 1 },
    ]);
  });

  it("returns the version, which stays when nothing changes", () => {
    const { mesh, log, series } = setUp(orders({}));
    expect(mesh.update(orders({}))).toBe(1);
    expect(mesh.update(orders({ trustNacks: true }))).toBe(2);
    expect(mesh.update(orders({ trustNacks: true }))).toBe(2);
    expect(series("inmesh.config.generation")[0]?.value).toBe(2);
    expect(log).toEqual([
      { level: "info", event: "config.applied", message: "code: configuration 2 in force" },
    ]);
  });

  it("replaces what code said at creation, and does not look at the old object again", () => {
    const config = { services: { orders: { ...list(1), trustNacks: true } } };
    const { mesh, open } = setUp(config);
    const service = open("orders");
    config.services.orders.trustNacks = false;
    open("http://other:80", { retry: { attempts: 1 } });
    expect(service.config.trustNacks).toBe(true);
    mesh.update({ services: { orders: list(1) } });
    expect(service.config.trustNacks).toBe(false);
  });

  it("is refused by a mesh that was closed", async () => {
    const { mesh, runtime } = setUp(orders({}));
    const closing = mesh.close();
    await runtime.advance(1);
    await closing;
    expect(() => mesh.update({})).toThrow("the mesh is closed");
  });

  it("a logger that throws stops nothing", () => {
    const { mesh } = setUp(orders({}), ok, {
      log: () => {
        throw new Error("disk full");
      },
    });
    expect(mesh.update(orders({ trustNacks: true }))).toBe(2);
  });
});

describe("what a change touches", () => {
  it("K4 CO: a call keeps the pipeline it began with; the next one has the new", async () => {
    const held: StubExchange[] = [];
    const world = setUp(orders({ timeouts: { requestMs: 1000 } }), (exchange) => {
      held.push(exchange);
    });
    world.open("orders");
    const before = world.send();
    await world.runtime.advance(100);
    world.mesh.update(orders({ timeouts: { requestMs: 300 } }));
    const after = world.send();
    await world.runtime.advance(2000);
    expect([before.error?.reason, before.at]).toEqual(["call_deadline", 1000]);
    expect([after.error?.reason, after.at]).toEqual(["call_deadline", 400]);
  });

  it("a route's timeout touches neither connections, counters, breakers nor the budget", async () => {
    const world = setUp(orders(inTurn), (exchange, address) => {
      if (address === "10.0.0.1:80") exchange.reply("failure", 500);
      else exchange.reply();
    });
    world.open("orders");
    await calls(world, 40);
    expect(world.endpoint(1).breaker.state).toBe("open");
    const before = world.state();
    expect(before.retryBudget.withdrawn).toBeGreaterThan(0);
    const routes = [{ name: "slow", timeouts: { requestMs: 60_000 } }];
    world.mesh.update(orders({ ...inTurn, routes, timeouts: { requestMs: 20 } }));
    expect(world.state()).toEqual({ ...before, routes: ["slow", "default"] });
    await calls(world, 10);
    expect(world.state().endpoints.map(({ picks }) => picks)).toEqual(
      before.endpoints.map(({ picks, address }) => picks + (address === "10.0.0.1:80" ? 0 : 10)),
    );
    expect([world.connected.length, world.closed.length]).toEqual([2, 0]);
  });

  it("a budget of other size starts afresh, one of the same does not", async () => {
    const world = setUp(orders({}), (exchange) => exchange.reply("failure", 503));
    world.open("orders");
    await calls(world, 20);
    const { withdrawn } = world.state().retryBudget;
    world.mesh.update(orders({ retry: { attempts: 3 } }));
    expect(world.state().retryBudget.withdrawn).toBe(withdrawn);
    world.mesh.update(orders({ retryBudget: { ratio: 1 } }));
    expect(world.state().retryBudget.withdrawn).toBe(0);
    expect(world.series("inmesh.retry.budget.balance")[0]?.value).toBe(
      world.state().retryBudget.balance,
    );
  });

  it("a balancer's settings keep the endpoints' counters and connections", async () => {
    const world = setUp(orders({ balancer: { kind: "random" } }));
    world.open("orders");
    await calls(world, 20);
    const before = world.state().endpoints.map(({ picks, latencyMs }) => [picks, latencyMs]);
    world.mesh.update(orders({ balancer: { kind: "round-robin", penaltyFactor: 20 } }));
    expect(world.state().endpoints.map(({ picks, latencyMs }) => [picks, latencyMs])).toEqual(
      before,
    );
    world.hosts.length = 0;
    await calls(world, 10);
    expect(world.hosts.filter((host) => host === "10.0.0.1:80")).toHaveLength(5);
    expect(world.connected).toHaveLength(2);
  });

  it("a breaker's settings hold for endpoints that are there already", async () => {
    const world = setUp(orders({ retry: { attempts: 1 } }), (exchange, address) => {
      if (address === "10.0.0.1:80") exchange.reply("failure", 500);
      else exchange.reply();
    });
    const off = { consecutiveFailures: 0, failureSpanMs: 0, successRatio: 0 };
    world.open("orders");
    world.mesh.update(
      orders({ retry: { attempts: 1 }, balancer: { kind: "round-robin" }, breaker: off }),
    );
    await calls(world, 40);
    expect(world.endpoint(1).breaker).toMatchObject({ state: "closed", consecutiveFailures: 20 });
    world.mesh.update(orders({ retry: { attempts: 1 }, balancer: { kind: "round-robin" } }));
    await calls(world, 2);
    expect(world.endpoint(1).breaker.state).toBe("open");
  });

  it("another list keeps what both name; a removed endpoint's attempts finish", async () => {
    const held: StubExchange[] = [];
    const world = setUp(orders(inTurn), (exchange, address) => {
      if (address === "10.0.0.1:80") held.push(exchange);
      else exchange.reply();
    });
    world.open("orders");
    const sent = Array.from({ length: 12 }, () => world.send());
    await world.runtime.advance(1);
    const kept = world.endpoint(2).picks;
    expect(held.length).toBeGreaterThan(0);
    world.mesh.update(orders({ ...inTurn, ...list(2, 3) }));
    expect(world.state().endpoints.map(({ address }) => address)).toEqual([
      "10.0.0.2:80",
      "10.0.0.3:80",
    ]);
    expect(world.endpoint(2).picks).toBe(kept);
    for (const exchange of held) exchange.reply();
    await world.runtime.advance(1);
    expect(sent.every(({ code }) => code === 200)).toBe(true);
    expect(world.closed).toEqual([]);
    await world.runtime.advance(60_000);
    expect(world.closed).toEqual(["10.0.0.1 30000"]);
  });

  it("D17 CO: what connections depend on makes new ones, and the old ones drain", async () => {
    const held: StubExchange[] = [];
    const world = setUp(orders(list(1)), (exchange) => void held.push(exchange));
    world.open("orders");
    const before = world.send();
    await world.runtime.advance(1);
    world.mesh.update(orders({ ...list(1), limits: { maxConnectionsPerEndpoint: 2 } }));
    expect(world.closed).toEqual(["10.0.0.1 30000"]);
    const after = world.send();
    await world.runtime.advance(1);
    expect(world.connected.map(({ limits }) => limits.maxConnectionsPerEndpoint)).toEqual([128, 2]);
    expect(world.endpoint(1).inFlight).toBe(2);
    for (const exchange of held) exchange.reply();
    await world.runtime.advance(1);
    expect([before.code, after.code]).toEqual([200, 200]);
    world.mesh.update(orders({ ...list(1), authority: "orders.new" }));
    world.send();
    expect(world.connected.at(-1)).toMatchObject({ authority: "orders.new" });
    world.mesh.update(orders({ ...list(1), authority: "orders.new", scheme: "https" }));
    world.send();
    expect(world.connected.at(-1)).toMatchObject({ scheme: "https" });
    expect(world.connected).toHaveLength(4);
  });

  it("an endpoint that could not be reached is tried at once when connections are made anew", async () => {
    const world = setUp(orders(list(1)), (exchange) => {
      const error = new MeshError({
        code: "connect_failed",
        reason: "tls_handshake",
        message: "no TLS here",
        progress: "not-sent",
      });
      if (world.connected.at(-1)!.scheme === "https") exchange.fail(error, "failure", true);
      else exchange.reply();
    });
    world.open("orders");
    world.mesh.update(orders({ ...list(1), scheme: "https" }));
    world.send();
    await world.runtime.advance(0);
    expect(world.endpoint(1).breaker).toMatchObject({ state: "open", trigger: "connect" });
    world.mesh.update(orders(list(1)));
    await world.runtime.advance(1);
    expect(world.endpoint(1).breaker.state).toBe("closed");
  });

  it("a higher limit has room for endpoints that were left out", async () => {
    const world = setUp(orders({ ...list(1, 2, 3), limits: { maxEndpoints: 2 } }));
    world.open("orders");
    world.send();
    expect(world.state().endpoints).toHaveLength(2);
    world.mesh.update(orders(list(1, 2, 3)));
    expect(world.state().endpoints).toHaveLength(3);
  });

  it("another source is watched instead; the endpoints of the first stay until it answers", async () => {
    const sinks: Record<string, EndpointSink> = {};
    const stopped: string[] = [];
    const world = setUp(orders({ discovery: { dns: "a", port: 80 } }), ok, {
      discovery: ({ discovery }) => {
        const source = discovery.kind === "dns" ? discovery.host : "none";
        return {
          source,
          watch(sink) {
            sinks[source] = sink;
            return { refresh() {}, stop: () => void stopped.push(source) };
          },
        };
      },
    });
    const info = (i: number): EndpointInfo => ({ host: `10.0.0.${i}`, port: 80 });
    world.open("orders");
    world.send();
    sinks["a"]!.replace([info(1), info(2)]);
    await calls(world, 10);
    const kept = world.endpoint(2).picks;
    world.mesh.update(orders({ discovery: { dns: "b", port: 80 } }));
    expect(stopped).toEqual(["a"]);
    expect(world.state()).toMatchObject({ discovery: { source: "b", state: "current" } });
    sinks["a"]!.replace([]);
    sinks["b"]!.failed(new Error("not yet"));
    expect(world.state().endpoints).toHaveLength(2);
    expect(world.state().discovery).toMatchObject({ state: "stale", error: "not yet" });
    // A source of differences: the first is the whole set.
    sinks["b"]!.change([info(2), info(3)], []);
    expect(world.state().endpoints.map(({ address }) => address)).toEqual([
      "10.0.0.2:80",
      "10.0.0.3:80",
    ]);
    expect(world.endpoint(2).picks).toBe(kept);
    expect(world.series("inmesh.discovery.endpoints")).toEqual([
      { labels: { service: "orders", source: "b" }, value: 2 },
    ]);
  });

  it("K4 CO: a new source and a new authority come into force together", async () => {
    const sinks: Record<string, EndpointSink> = {};
    const sent: string[] = [];
    const world = setUp(orders({ discovery: { dns: "a", port: 80 } }), ok, {
      discovery: ({ discovery }) => ({
        source: "test",
        watch(sink) {
          if (discovery.kind === "dns") sinks[discovery.host] = sink;
          return { refresh() {}, stop() {} };
        },
      }),
    });
    const call = async (): Promise<void> => {
      world.connected.length = 0;
      await calls(world, 1);
      const { authority } = world.connected.at(-1) ?? {};
      sent.push(`${world.hosts.at(-1)} ${authority ?? "as before"}`);
    };
    world.open("orders");
    world.send();
    sinks["a"]!.replace([{ host: "10.0.0.1", port: 80 }]);
    await world.runtime.advance(0);
    world.mesh.update(orders({ discovery: { dns: "b", port: 80 }, authority: "b" }));
    await call();
    world.mesh.update(orders({ discovery: { dns: "b", port: 80 }, authority: "c" }));
    sinks["b"]!.failed(new Error("not yet"));
    await call();
    sinks["b"]!.replace([{ host: "10.0.0.1", port: 80 }]);
    await call();
    world.mesh.update(orders({ discovery: { dns: "b", port: 80 }, authority: "d" }));
    await call();
    expect(sent).toEqual([
      "10.0.0.1:80 as before",
      "10.0.0.1:80 as before",
      "10.0.0.1:80 c",
      "10.0.0.1:80 d",
    ]);
  });

  it("a route to another service wakes it, and leaves the former one after the grace", async () => {
    const to = (name: string): ServiceInput => ({
      drainGraceMs: 1000,
      routes: [{ name: "all", backendRefs: [{ name }] }],
    });
    const others = { blue: list(8), green: list(9) };
    const world = setUp(orders(to("blue"), others));
    world.open("orders");
    await calls(world, 2);
    world.mesh.update(orders(to("green"), others));
    await calls(world, 2);
    expect(world.hosts).toEqual(["10.0.0.8:80", "10.0.0.8:80", "10.0.0.9:80", "10.0.0.9:80"]);
    expect(world.closed).toEqual([]);
    await world.runtime.advance(1000);
    expect(world.closed).toEqual(["10.0.0.8 30000"]);
    // Back within the grace: the same endpoints, with their counters.
    world.mesh.update(orders(to("blue"), others));
    await world.runtime.advance(500);
    world.mesh.update(orders(to("green"), others));
    await world.runtime.advance(5000);
    expect(world.state().endpoints.find(({ address }) => address === "10.0.0.9:80")?.picks).toBe(2);
  });

  it("a shorter idle time holds for a service that is awake", async () => {
    const world = setUp(orders({}));
    world.open("orders");
    await calls(world, 1);
    world.mesh.update(orders({ idleMs: 1000 }));
    await world.runtime.advance(2000);
    expect(world.state().discovery.state).toBe("idle");
    await calls(world, 1);
    expect(world.hosts).toHaveLength(2);
  });
});

describe("services that come and go", () => {
  it("D16 CO: a removed one finishes its calls, refuses new ones, and works again when it is back", async () => {
    let held: StubExchange[] = [];
    const world = setUp(orders({ drainGraceMs: 5000 }), (exchange) => void held.push(exchange));
    world.open("orders");
    const before = world.send();
    await world.runtime.advance(1);
    world.mesh.update({ services: {} });
    const refused = world.send();
    await world.runtime.advance(1);
    expect(refused.error).toMatchObject({ code: "no_route", progress: "not-sent" });
    expect(refused.error?.message).toBe(
      "orders: the configuration in force no longer has this service: put it back, or stop calling it",
    );
    expect(world.mesh.snapshot().services).toEqual([]);
    expect(world.series("inmesh.call.active")).toEqual([]);
    expect(() => world.open("orders")).toThrow(/is not configured/);
    // Calls in progress may even retry.
    held[0]!.reply("failure", 503);
    await world.runtime.advance(100);
    held[1]!.reply();
    await world.runtime.advance(1);
    expect(before.code).toBe(200);
    await world.runtime.advance(5000);
    expect(world.closed).toHaveLength(2);
    expect(world.series("inmesh.discovery.endpoints")).toEqual([]);
    held = [];
    world.mesh.update(orders({}));
    const again = world.send();
    await world.runtime.advance(1);
    held[0]!.reply();
    await world.runtime.advance(1);
    expect(again.code).toBe(200);
    expect(world.state().callsInFlight).toBe(0);
    expect(world.series("inmesh.call.active")).toHaveLength(1);
  });

  it("one that is back within the grace has kept everything", async () => {
    const world = setUp(orders({ idleMs: 60_000 }));
    world.open("orders");
    await calls(world, 10);
    const { endpoints } = world.state();
    world.mesh.update({});
    await world.runtime.advance(10_000);
    world.mesh.update(orders({ idleMs: 60_000 }));
    expect(world.state().endpoints.map(({ picks }) => picks)).toEqual(
      endpoints.map(({ picks }) => picks),
    );
    expect(world.closed).toEqual([]);
    // It is awake without a call, and falls asleep as others do.
    await world.runtime.advance(120_000);
    expect(world.state().discovery.state).toBe("idle");
  });

  it("one opened by URL follows changed defaults", () => {
    const { mesh, open } = setUp(undefined);
    const service = open("http://orders:8080");
    expect(service.config.timeouts.requestMs).toBe(15_000);
    mesh.update({ defaults: { timeouts: { requestMs: 700 } } });
    expect(service.config.timeouts.requestMs).toBe(700);
    mesh.update({});
    expect(service.config.timeouts.requestMs).toBe(15_000);
  });

  it("one opened with options keeps its own word and follows the rest", () => {
    const { mesh, open } = setUp(orders({ retry: { attempts: 3 } }));
    const plain = open("orders");
    const service = open("orders", { timeouts: { requestMs: 900 } });
    expect(plain).toBe(service);
    expect(service.config).toMatchObject({ timeouts: { requestMs: 900 }, retry: { attempts: 3 } });
    mesh.update(orders({ retry: { attempts: 4 }, timeouts: { requestMs: 100, connectMs: 50 } }));
    expect(service.config).toMatchObject({
      timeouts: { requestMs: 900, connectMs: 50 },
      retry: { attempts: 4 },
    });
    expect(() => open("orders", { timeouts: { requestMs: 901 } })).toThrow(/was given as/);
    // Options alone make no service.
    mesh.update({});
    expect(mesh.snapshot().services).toEqual([]);
    const byUrl = open("http://bills:80", { trustNacks: true });
    mesh.update({ defaults: { timeouts: { requestMs: 700 } } });
    expect(byUrl.config).toMatchObject({ trustNacks: true, timeouts: { requestMs: 700 } });
  });

  it("a mistake in what a client says leaves everything as it was", () => {
    const { mesh, open } = setUp(orders({}));
    const { config } = open("orders");
    expect(() => open("orders", { timeouts: { requestMs: 0 } })).toThrow(ConfigError);
    expect(() => open("bills", { timeouts: { requestMs: 1 } })).toThrow(ConfigError);
    expect(mesh.service("orders", stubProtocol(ok)).config).toBe(config);
    expect(mesh.snapshot().config.version).toBe(1);
  });

  it("what cannot be compiled changes nothing", async () => {
    const world = setUp(orders({}));
    const service = world.open("orders");
    const fragile = mesh2(world);
    await calls(world, 1);
    const before = service.current;
    expect(() => world.mesh.update(orders({ authority: "broken" }))).toThrow("no such certificate");
    expect(service.current).toBe(before);
    expect(service.config.authority).toBe("orders");
    expect(world.mesh.snapshot().config.version).toBe(1);
    expect(fragile.config.authority).toBe("orders");
    world.mesh.update(orders({ authority: "fine" }));
    expect([service.config.authority, fragile.config.authority]).toEqual(["fine", "fine"]);
  });
});

/** The same service over a protocol whose transports may fail to be made. */
function mesh2({ mesh }: ReturnType<typeof setUp>) {
  const stub = stubProtocol(ok);
  return mesh.service("orders", {
    name: "fragile",
    transport: (service, runtime) => {
      if (service.authority === "broken") throw new Error("no such certificate");
      return stub.transport(service, runtime);
    },
  });
}
