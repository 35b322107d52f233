/** Sources from outside, good and bad, in virtual time. */
import { afterEach, describe, expect, it } from "vitest";
import type { LogLine } from "../log.ts";
import { createMesh, type Mesh } from "../mesh.ts";
import type { MeshOptions } from "../mesh-options.ts";
import type { ConfigChange } from "../observe/observer.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { stubProtocol } from "../testing/stub-transport.ts";
import type { MeshInput } from "./input.ts";
import { ConfigError } from "./mistakes.ts";
import type { ConfigLayer, ConfigReport, ConfigSink, ConfigSource, ConfigWatch } from "./source.ts";

const meshes: Mesh[] = [];
afterEach(async () => {
  await Promise.all(meshes.splice(0).map((mesh) => mesh.close(0)));
});

const attempts = (count: number): MeshInput => ({
  services: { orders: { url: "http://10.0.0.1:80", retry: { attempts: count } } },
});

/** What a test says, as a source. `first`: said before `watch` returns. */
class Said implements ConfigSource {
  readonly name: string;
  readonly rank: ConfigSource["rank"];
  readonly required: boolean | undefined;
  readonly reports: Omit<ConfigReport, "layer">[] = [];
  readonly layers: ConfigLayer[] = [];
  sink: ConfigSink | undefined = undefined;
  stops = 0;
  readonly #first: readonly ConfigLayer[];

  constructor(
    first: readonly ConfigLayer[] = [],
    rank: ConfigSource["rank"] = "control-plane",
    name = "control",
    required?: boolean,
  ) {
    this.#first = first;
    this.rank = rank;
    this.name = name;
    this.required = required;
  }

  watch(sink: ConfigSink): ConfigWatch {
    this.sink = sink;
    for (const layer of this.#first) sink.replace(layer);
    return {
      report: ({ layer, ...report }) => {
        this.layers.push(layer);
        this.reports.push(report);
      },
      stop: () => void this.stops++,
    };
  }

  say(input: unknown, more: Partial<ConfigLayer> = {}): ConfigLayer {
    const layer = { input, ...more };
    this.sink!.replace(layer);
    return layer;
  }
}

function start(sources: readonly ConfigSource[], options: MeshOptions = {}) {
  const runtime = new SimRuntime(3);
  const log: LogLine[] = [];
  const mesh = createMesh({
    env: {},
    runtime,
    sources,
    log: (line) => void (line.event.startsWith("config.") && log.push(line)),
    ...options,
  });
  meshes.push(mesh);
  const retries = () => mesh.config.current.services["orders"]?.retry.attempts;
  const updates = () =>
    Object.fromEntries(
      mesh
        .metrics()
        .filter(
          ({ name, labels }) => name === "inmesh.config.updates" && labels["source"] !== "code",
        )
        .map((one) => [one.labels["result"], "value" in one ? one.value : 0]),
    );
  const state = (name = "control") =>
    mesh.snapshot().config.sources.find((one) => one.name === name)!;
  const events = () => log.map(({ event }) => event);
  return { mesh, runtime, log, events, retries, updates, state };
}

function refusal(run: () => unknown): ConfigError {
  try {
    run();
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error("must be refused");
}

describe("a source from outside", () => {
  it("gives a layer, gets a report of what became of it, and knows it by its version", async () => {
    const control = new Said();
    const { mesh, runtime, retries, updates, state, events } = start([control]);
    expect(state()).toMatchObject({ state: "waiting", version: undefined });
    const first = control.say(attempts(2), { version: "a1" });
    expect(retries()).toBe(2);
    await runtime.advance(100);
    const wrong = { services: { orders: { url: "nowhere", retry: { attempts: 99 }, retries: 1 } } };
    const second = control.say(wrong, { version: "a2" });
    await runtime.advance(100);
    expect(retries()).toBe(2);
    expect(state()).toMatchObject({ rank: "control-plane", state: "refused", version: "a1" });
    expect(mesh.snapshot().config.state).toBe("refused");
    control.say(attempts(2), { version: "a3" });
    expect(state()).toMatchObject({ state: "current", version: "a3", mistakes: [] });
    expect(control.reports.map(({ result, generation }) => [result, generation])).toEqual([
      ["applied", 2],
      ["refused", 2],
      ["unchanged", 2],
    ]);
    expect(control.layers.slice(0, 2)).toEqual([first, second]);
    expect(control.layers[0]).toBe(first);
    const { mistakes } = control.reports[1]!;
    expect(mistakes.map(({ path, origin }) => [path, origin]).toSorted()).toEqual([
      ["services.orders.retries", "control"],
      ["services.orders.retry.attempts", "control"],
      ["services.orders.url", "control"],
    ]);
    expect(updates()).toEqual({ applied: 1, refused: 1, unchanged: 1 });
    expect(events()).toEqual(["config.applied", "config.refused"]);
  });

  it("has its place: override over code over control plane over file or environment", () => {
    const control = new Said([{ input: attempts(2) }]);
    const person = new Said([], "override", "person");
    const { mesh, retries } = start([control, person], {
      env: { INMESH_SERVICE_ORDERS: "http://10.0.0.9:80" },
    });
    const explained = (...path: string[]) => mesh.explain(["services", "orders", ...path]);
    expect(retries()).toBe(2);
    expect(explained("retry", "attempts")).toMatchObject({
      rank: "control-plane",
      origin: "control",
    });
    expect(explained("discovery").origin).toBe("control");
    mesh.update({ services: { orders: { retry: { attempts: 3 } } } });
    expect([retries(), explained("retry", "attempts").rank]).toEqual([3, "code"]);
    person.say({ services: { orders: { retry: { attempts: 4 } } } });
    expect([retries(), explained("retry", "attempts").rank]).toEqual([4, "override"]);
    mesh.service(
      "orders",
      stubProtocol((exchange) => exchange.reply()),
      {
        retry: { attempts: 5 },
        timeouts: { connectMs: 70 },
      },
    );
    expect([retries(), explained("timeouts", "connectMs").rank]).toEqual([4, "code"]);
    expect(explained("timeouts", "requestMs")).toEqual({ rank: "default", origin: "default" });
  });

  it("is known as the writer of what it wrote, with line and place, defaults too", () => {
    const control = new Said([
      {
        input: { defaults: { retry: { attempts: 1 } }, ...attempts(2) },
        origin: "control:mesh",
        originOf: ([section]) => (section === "services" ? "control:service/orders" : undefined),
        lineOf: (path) => path.length,
      },
    ]);
    const { mesh } = start([control], {
      env: { INMESH_SERVICE_BILLS: "http://10.0.0.9:80" },
    });
    expect(mesh.explain(["services", "orders", "retry", "attempts"])).toEqual({
      rank: "control-plane",
      origin: "control:service/orders",
      line: 4,
    });
    expect(mesh.explain(["services", "bills", "retry", "attempts"])).toMatchObject({
      rank: "control-plane",
      origin: "control:mesh",
    });
    expect(mesh.explain(["services", "bills", "discovery", "host"])).toMatchObject({
      rank: "environment",
      origin: "env:INMESH_SERVICE_BILLS",
    });
    mesh.service(
      "http://shop:80",
      stubProtocol((exchange) => exchange.reply()),
    );
    expect(mesh.explain(["services", "shop", "discovery"])).toMatchObject({ rank: "code" });
    expect(mesh.explain([])).toEqual({ rank: "default", origin: "default" });
  });

  it("is waited for by configured(), no longer than is said", async () => {
    const control = new Said();
    const { mesh, runtime } = start([control]);
    const [short, long] = [mesh.configured(50), mesh.configured(500)];
    await runtime.advance(60);
    expect(await short).toBe(false);
    control.say(attempts(2));
    expect(await long).toBe(true);
    expect(await mesh.configured()).toBe(true);
    await expect(mesh.configured(NaN)).rejects.toThrow("timeoutMs must be a number");
    const silent = start([new Said()]);
    const waiting = silent.mesh.configured();
    await silent.mesh.close(0);
    expect(await waiting).toBe(false);
    expect(await silent.mesh.configured()).toBe(false);
  });

  it("that was refused because of another is tried again when that changes, and its source gets a report", async () => {
    const control = new Said();
    const person = new Said(
      [{ input: { services: { orders: { retry: { attempts: 2 } } } } }],
      "override",
      "person",
    );
    const { runtime, retries, state } = start([control, person]);
    expect(state("person").state).toBe("refused");
    control.say(attempts(5));
    expect([retries(), state("person").state]).toEqual([2, "current"]);
    expect(person.reports.map(({ result }) => result)).toEqual(["refused", "applied"]);
    await runtime.advance(1_000);
    expect(person.reports).toHaveLength(2);
  });

  it("that is required makes the start fail, with its mistakes and those of the others", () => {
    const required = (first: readonly ConfigLayer[]) =>
      new Said(first, "control-plane", "control", true);
    const silent = required([]);
    const env = { INMESH_SERVICE_ORDERS: "http://a,https://b" };
    expect(
      refusal(() => start([silent], { env })).mistakes.map(({ origin, rule }) => [origin, rule]),
    ).toEqual([
      ["env:INMESH_SERVICE_ORDERS", "must use http or https for all addresses, not both"],
      ["control", "must say something before watch returns, because it is required"],
    ]);
    expect(silent.stops).toBe(1);
    silent.say(attempts(1));
    const wrong = refusal(() => start([required([{ input: attempts(99) }])], { env }));
    expect(wrong.mistakes.map(({ origin }) => origin)).toEqual([
      "env:INMESH_SERVICE_ORDERS",
      "control",
    ]);
    const good = required([{ input: attempts(3), version: "v1" }]);
    expect(start([good]).retries()).toBe(3);
    expect(good.reports).toEqual([{ result: "applied", mistakes: [], generation: 1 }]);
  });
});

describe("bad input", () => {
  it("names and ranks that exist, and what is no source: all mistakes at once, at the start", () => {
    const wrong = [
      { name: "file", rank: "control-plane", watch() {} },
      { name: "control", rank: "control-plane", watch() {} },
      { name: "other", rank: "control-plane", watch() {} },
      { name: "control", rank: "override", watch() {} },
      { name: "Wrong Name", rank: "code", required: 1 },
      { name: "files", rank: "file", watch() {} },
      7,
    ] as unknown as ConfigSource[];
    const { mistakes } = refusal(() => start(wrong, { configFile: "/nowhere/mesh.yaml" }));
    expect(mistakes.map(({ path }) => path)).toEqual([
      "sources[0].name",
      "sources[1].rank",
      "sources[2].rank",
      "sources[3].name",
      "sources[4].name",
      "sources[4].rank",
      "sources[4].watch",
      "sources[4].required",
      "sources[5].rank",
      "sources[6].name",
      "sources[6].rank",
      "sources[6].watch",
    ]);
    expect(mistakes[8]).toMatchObject({
      rule: "must not be that of the file /nowhere/mesh.yaml as well",
    });
  });

  it("watch that throws: the mesh starts, says so, and asks again", async () => {
    let asked = 0;
    const good = new Said();
    const { runtime, retries, state, events, updates } = start([
      {
        name: "control",
        rank: "control-plane",
        watch(sink) {
          if (++asked < 3) throw new Error("no route");
          return good.watch(sink);
        },
      },
    ]);
    expect(state()).toMatchObject({ state: "failed" });
    expect(state().mistakes[0]?.rule).toBe("cannot be used: no route");
    await runtime.advance(1_000);
    await runtime.advance(2_000);
    expect(asked).toBe(3);
    good.say(attempts(4));
    expect([retries(), state().state]).toEqual([4, "current"]);
    expect(updates()).toEqual({ failed: 2, applied: 1 });
    expect(events()).toEqual(["config.failed", "config.failed", "config.applied"]);
  });

  it("what is no watch, also a promise that rejects, is a failure and no unhandled rejection", async () => {
    const none = { name: "none", rank: "control-plane", watch() {} };
    const later = { name: "later", rank: "override", watch: () => Promise.reject(new Error("x")) };
    const { state, runtime } = start([none, later] as unknown as ConfigSource[]);
    await runtime.advance(0);
    for (const name of ["none", "later"]) {
      expect(state(name).mistakes[0]?.rule).toBe(
        "cannot be used: watch has not given an object with stop",
      );
    }
  });

  it("K1 CO: no answer for ten seconds is a failure; what comes later counts", async () => {
    const control = new Said();
    const { runtime, state, events, retries } = start([control]);
    await runtime.advance(9_999);
    expect(state().state).toBe("waiting");
    await runtime.advance(1);
    expect(state().state).toBe("failed");
    expect(events()).toEqual(["config.failed"]);
    control.say(attempts(2));
    expect([retries(), state().state]).toEqual([2, "current"]);
  });

  it("K4 CO: two answers in one turn: one counts at once, the newest soon after; a flood is one in 100 ms", async () => {
    const both = new Said([{ input: attempts(1) }, { input: attempts(2) }]);
    const { runtime, retries, updates } = start([both]);
    expect(retries()).toBe(2);
    await runtime.advance(100);
    for (let i = 0; i < 10_000; i++) both.say(attempts((i % 3) + 3));
    expect(retries()).toBe(3);
    await runtime.advance(100);
    expect(retries()).toBe(3);
    for (let i = 0; i < 1_000; i++) {
      both.say(attempts((i % 3) + 1));
      await runtime.advance(1);
    }
    expect(updates()["applied"]).toBeLessThanOrEqual(14);
    expect(both.reports.length).toBeLessThanOrEqual(14);
  });

  it("K3 CO: what is no layer, no object, or no plain data is refused, whatever others say", async () => {
    const control = new Said([{ input: attempts(2) }]);
    const { runtime, retries, state, updates } = start([control], {
      config: { defaults: { retry: { attempts: 1 } } },
    });
    const loop: Record<string, unknown> = {};
    loop["services"] = loop;
    const throwing = {
      get input(): never {
        throw new Error("a getter");
      },
    };
    const bad: [unknown, RegExp][] = [
      [undefined, /must be an object with input/],
      ["text", /must be an object with input/],
      [{}, /must be an object/],
      [{ input: null }, /must be an object/],
      [{ input: [] }, /must be an object/],
      [{ input: "services: {}" }, /must be an object/],
      [{ input: loop }, /refers to itself/],
      [{ input: new Map() }, /plain data/],
      [{ input: attempts(2), version: 7 }, /at most 256 characters/],
      [{ input: attempts(2), origin: "x".repeat(300) }, /at most 256 characters/],
      [throwing, /a getter/],
      [{ input: { services: { orders: { retry: { attemps: 2 } } } } }, /did you mean/],
    ];
    for (const [layer, rule] of bad) {
      await runtime.advance(100);
      control.sink!.replace(layer as ConfigLayer);
      expect(
        state()
          .mistakes.map((mistake) => mistake.rule)
          .join(),
      ).toMatch(rule);
      expect([retries(), state().state]).toEqual([2, "refused"]);
    }
    expect(updates()["refused"]).toBe(bad.length);
  });

  it("K3 CO: keys that would reach a prototype are refused, and reach none", async () => {
    const control = new Said();
    const { runtime, state } = start([control]);
    for (const text of [
      '{"__proto__":{"polluted":1}}',
      '{"services":{"__proto__":{"url":"http://a"}}}',
      '{"services":{"orders":{"url":"http://a","__proto__":{"retry":{"attempts":3}}}}}',
      '{"services":{"orders":{"constructor":{"prototype":{"polluted":1}}}}}',
    ]) {
      control.say(JSON.parse(text));
      expect(state().state, text).toBe("refused");
      await runtime.advance(100);
    }
    expect(Reflect.get({}, "polluted")).toBeUndefined();
  });

  it("K3 CO: a gigantic layer is refused before it is read through", async () => {
    const control = new Said();
    const { runtime, state } = start([control]);
    const deep = JSON.parse(`${'{"a":'.repeat(4_000)}1${"}".repeat(4_000)}`) as object;
    const billions: unknown[] = [];
    billions.length = 4e9;
    for (const [input, rule] of [
      [{ services: { orders: { routes: billions } } }, /too many values/],
      [deep, /nested too deeply/],
      [Object.fromEntries(Array.from({ length: 501 }, (_, i) => [i, 1])), /is not known/],
    ] as const) {
      const startedAt = performance.now();
      control.say(input);
      expect(
        state()
          .mistakes.map((mistake) => mistake.rule)
          .join(),
      ).toMatch(rule);
      expect(performance.now() - startedAt).toBeLessThan(2_000);
      await runtime.advance(100);
    }
  });

  it("what is said after the end is counted and logged, and has no effect", async () => {
    const control = new Said([{ input: attempts(2) }]);
    const { mesh, retries, updates, events } = start([control]);
    await mesh.close(0);
    control.say(attempts(3));
    control.sink!.failed(new Error("gone"));
    expect([control.stops, retries()]).toEqual([1, 2]);
    expect(updates()).toEqual({ applied: 1, late: 2 });
    expect(events()).toEqual(["config.applied", "config.late", "config.late"]);
  });

  it("report, stop and places that throw or hang change nothing, and close does not wait for them", async () => {
    const bad: ConfigSource = {
      name: "control",
      rank: "control-plane",
      watch(sink) {
        sink.replace({
          input: attempts(2),
          originOf: () => {
            throw new Error("no origin");
          },
        });
        return {
          report: () => {
            throw new Error("no report");
          },
          stop: () => new Promise(() => {}),
        };
      },
    };
    const { mesh, runtime, retries, updates, state } = start([bad]);
    expect([retries(), state().state]).toEqual([2, "current"]);
    expect(updates()).toEqual({ applied: 1, failed: 1 });
    expect(mesh.explain(["services", "orders", "retry", "attempts"]).origin).toBe("control");
    let closed = false;
    void mesh.close(0).then(() => (closed = true));
    await runtime.advance(999);
    expect(closed).toBe(false);
    await runtime.advance(2);
    expect(closed).toBe(true);
  });

  it("what a source does to its layer later does not count", async () => {
    const input = { services: { orders: { url: "http://10.0.0.1:80", retry: { attempts: 2 } } } };
    const { mesh, retries } = start([new Said([{ input }])]);
    input.services.orders.retry.attempts = 99;
    mesh.update({});
    expect(retries()).toBe(2);
  });

  it("observers see it, by name", async () => {
    const control = new Said();
    const { mesh, runtime } = start([control]);
    const heard: ConfigChange[] = [];
    mesh.observe({ configChanged: (change) => void heard.push(change) });
    control.say(attempts(2));
    control.sink!.failed(new Error("gone"));
    await runtime.advance(100);
    expect(heard.map(({ source, result, version }) => [source, result, version])).toEqual([
      ["control", "applied", 2],
      ["control", "failed", 2],
    ]);
  });

  it("loses no call: those in progress end with what they began with", async () => {
    const control = new Said([{ input: attempts(2) }]);
    const { mesh, runtime } = start([control]);
    const service = mesh.service(
      "orders",
      stubProtocol((exchange) => exchange.reply()),
    );
    const before = service.current;
    control.say({ services: { orders: { url: "ftp://x" } } });
    await runtime.advance(100);
    expect(service.current).toBe(before);
  });
});
