/** Kinds of discovery from outside: what may be written, mistakes, and sources that break their contract (P2). */
import { describe, expect, it } from "vitest";
import { Call } from "../call.ts";
import { loadConfig } from "../config/load.ts";
import { ConfigError } from "../config/mistakes.ts";
import { configJsonSchema } from "../config/schema.ts";
import { kindsWith } from "../discovery-kinds.ts";
import type { EndpointInfo } from "../endpoint-info.ts";
import type { LogLine } from "../log.ts";
import type { Check } from "../inspect/api.ts";
import { Inspection } from "../inspect/inspection.ts";
import { createMesh } from "../mesh.ts";
import type { MeshOptions } from "../mesh-options.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { StubRequest, stubProtocol } from "../testing/stub-transport.ts";
import type { EndpointSink, EndpointWatch } from "./discovery.ts";
import {
  type CheckedMesh,
  discoverForEveryMesh,
  type DiscoveryKind,
  type MadeMesh,
} from "./kind.ts";

const A = { host: "10.0.0.1", port: 80 };
const QUIET: EndpointWatch = { refresh() {}, stop() {} };

interface ListOptions {
  readonly name: string;
  readonly refreshMs?: number;
  readonly tags?: readonly string[];
}

const opened: ListOptions[] = [];
const list: DiscoveryKind<ListOptions> = {
  name: "list",
  fields: [
    { path: "list", type: "object", meaning: "From the list." },
    { path: "list.name", type: "text", required: true, meaning: "Name in the list." },
    { path: "list.refresh", type: "duration", min: 1_000, max: 60_000, meaning: "How often." },
    { path: "list.tags", type: "list", max: 2, meaning: "Only those." },
  ],
  open(options) {
    opened.push(options);
    return {
      source: "list",
      watch(sink) {
        sink.replace([A]);
        return QUIET;
      },
    };
  },
};

function setUp(kind: DiscoveryKind, written: unknown, more: MeshOptions = {}) {
  const runtime = new SimRuntime(1);
  const lines: LogLine[] = [];
  const mesh = createMesh({
    env: {},
    runtime,
    log: (line) => void lines.push(line),
    discoveries: [kind],
    config: { services: { orders: { discovery: { [kind.name]: written } } } },
    ...more,
  });
  const service = mesh.service(
    "orders",
    stubProtocol((exchange) => exchange.reply()),
  );
  const call = () => service.current(new Call("orders", new StubRequest("/"), true, true));
  const count = (name: string): number =>
    mesh
      .metrics()
      .filter((series) => series.name === name)
      .reduce((sum, series) => sum + ("value" in series ? series.value : 0), 0);
  const events = (): string[] =>
    lines.map(({ event }) => event).filter((event) => event.startsWith("discovery."));
  const discovery = () => mesh.snapshot().services[0]!.discovery;
  return { runtime, mesh, call, count, events, lines, discovery };
}

function mistakesOf(run: () => unknown): Record<string, string> {
  try {
    run();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return Object.fromEntries(error.mistakes.map(({ path, rule }) => [path, rule]));
  }
  throw new Error("it was accepted");
}

describe("what may be written", () => {
  it("is what the fields say; durations arrive as milliseconds", async () => {
    opened.length = 0;
    const { mesh, call, discovery } = setUp(list, { name: "orders", refresh: "5s", tags: ["a"] });
    expect((await call()).code).toBe(200);
    expect(opened).toEqual([{ name: "orders", refreshMs: 5_000, tags: ["a"] }]);
    expect(discovery()).toMatchObject({ source: "list", state: "current" });
    expect(mesh.config.current.services["orders"]).toMatchObject({
      authority: "orders",
      discovery: { kind: "own", name: "list", options: { name: "orders" } },
    });
    await mesh.close(0);
  });

  it("R41 CO: every mistake in it has its path and rule, as with built-in kinds", () => {
    const of = (discovery: unknown) =>
      mistakesOf(() =>
        loadConfig({
          env: false,
          discoveries: [list],
          code: { services: { orders: { discovery } } },
        }),
      );
    const at = "services.orders.discovery.list";
    expect(of({ list: { refresh: "90s", tags: ["a", "b", "c"], nmae: "orders" } })).toEqual({
      [`${at}.name`]: "must be written: a text",
      [`${at}.refresh`]: "must be at most 1m",
      [`${at}.tags`]: "must hold at most 2 items",
      [`${at}.nmae`]: expect.stringContaining('did you mean "name"') as string,
    });
    expect(of({ list: { name: "a", refresh: "2s", refreshMs: 2_000 } })).toEqual({
      [`${at}.refreshMs`]: "must not be written together with refresh",
    });
    expect(of({ list: "orders" })[at]).toMatch(/must be an object/);
    expect(of({ list: { name: "a" }, static: ["10.0.0.1:80"] })).toEqual({
      "services.orders.discovery": "must have only one of static, list",
    });
    expect(of({ lisst: { name: "a" } })["services.orders.discovery"]).toBe(
      "must have one of dns, srv, static, file, registry, list; another kind is added by createMesh({ discoveries })",
    );
  });

  it("is in the JSON schema that editors can be given", () => {
    const text = JSON.stringify(configJsonSchema(kindsWith([list], [], false)));
    expect(text).toContain('"Name in the list."');
    expect(text).toContain('{"required":["list"]}');
  });

  it("may be changed while calls run: equal options keep the watch", async () => {
    opened.length = 0;
    const { mesh, call } = setUp(list, { name: "orders" });
    await call();
    mesh.update({ services: { orders: { discovery: { list: { name: "orders" } } } } });
    mesh.update({ services: { orders: { discovery: { list: { name: "other" } } } } });
    await call();
    expect(opened.map(({ name }) => name)).toEqual(["orders", "other"]);
    await mesh.close(0);
  });
});

describe("R41 CO: a kind that cannot be used is an error at the start, with every mistake", () => {
  const text = { path: "list", type: "text", meaning: "." } as const;
  const field = { path: "dns", type: "text", meaning: "." } as const;
  it.each<[string, unknown, string, RegExp]>([
    ["nothing", undefined, "discoveries[0]", /must be a kind/],
    ["no name", { ...list, name: "" }, "discoveries[0].name", /must be a text/],
    [
      "a built-in name",
      { ...list, name: "dns", fields: [field] },
      "discoveries[0].name",
      /that of the kind dns/,
    ],
    [
      "a key of another kind with a type that cannot be shared",
      { ...list, fields: [...list.fields, { ...field, path: "port", type: "boolean" }] },
      "discoveries[0].name",
      /port is that of the kind dns/,
    ],
    ["no fields", { ...list, fields: undefined }, "discoveries[0].fields", /must be a list/],
    [
      "fields without its own",
      { ...list, fields: [] },
      "discoveries[0].fields",
      /whose path is list/,
    ],
    [
      "a field of no type",
      { ...list, fields: [{ path: "list", meaning: "." }] },
      "discoveries[0].fields[0].type",
      /one of duration/,
    ],
    [
      "a text that nothing reads",
      { ...list, fields: [text] },
      "discoveries[0].read",
      /must be written where/,
    ],
    [
      "an open that is no function",
      { ...list, open: 1 },
      "discoveries[0].open",
      /must be a function/,
    ],
  ])("%s", (_, kind, path, rule) => {
    const found = mistakesOf(() => createMesh({ env: {}, discoveries: [kind] as DiscoveryKind[] }));
    expect(found[path]).toMatch(rule);
  });

  it("the same name twice", () => {
    const found = mistakesOf(() => createMesh({ env: {}, discoveries: [list, { ...list }] }));
    expect(found["discoveries[1].name"]).toMatch(/that of the kind list/);
  });
});

describe("P2 CO: a kind that breaks its contract", () => {
  const broken = (change: Partial<DiscoveryKind>): DiscoveryKind => ({
    name: "broken",
    fields: [{ path: "broken", type: "any", meaning: "Anything." }],
    read: () => ({}),
    open: () => ({ source: "broken", watch: () => QUIET }),
    ...change,
  });
  const watching = (watch: (sink: EndpointSink) => EndpointWatch): DiscoveryKind =>
    broken({ open: () => ({ source: "broken", watch }) });
  const boom = (): never => {
    throw new Error("boom");
  };

  it.each<[string, DiscoveryKind["read"], RegExp]>([
    ["throws", boom, /cannot be read: boom/],
    ["gives no object", () => 5 as never, /must be read as an object/],
    ["gives what is no plain data", () => ({ since: new Date(0) }), /must be plain data/],
  ])("read %s: a mistake of the configuration", (_, read, rule) => {
    expect(Object.values(mistakesOf(() => setUp(broken({ read: read! }), 1))).join()).toMatch(rule);
  });

  it.each<[string, DiscoveryKind["open"], RegExp]>([
    ["throws", boom, /boom/],
    ["gives nothing", () => undefined as never, /has not given a discovery/],
    ["gives a watch that throws", () => ({ source: "broken", watch: boom }), /boom/],
    [
      "gives a watch without stop",
      () => ({ source: "broken", watch: () => ({}) as EndpointWatch }),
      /refresh and stop/,
    ],
  ])("open %s: counted, logged, and tried again, and a call says why", async (_, open, why) => {
    let broke = true;
    const kind = broken({
      open: (options, mesh) =>
        broke
          ? open(options, mesh)
          : {
              source: "broken",
              watch(sink) {
                sink.replace([A]);
                return QUIET;
              },
            },
    });
    // What open gave counts until the options change; only what threw is opened again.
    const { runtime, mesh, call, count, events, discovery } = setUp(kind, 1);
    const failing = expect(call()).rejects.toMatchObject({
      reason: "discovery_pending",
      progress: "not-sent",
      cause: { message: expect.stringMatching(why) as string },
    });
    await runtime.advance(3_000);
    await failing;
    expect(count("inmesh.discovery.errors")).toBe(1);
    expect(events()).toContain("discovery.failed");
    expect(discovery().error).toMatch(why);
    broke = false;
    await runtime.advance(2_500);
    expect(count("inmesh.discovery.errors")).toBeLessThanOrEqual(2);
    await mesh.close(0);
  });

  it("open that throws once: the next try comes by itself, and calls go on", async () => {
    let tries = 0;
    const kind = broken({
      open() {
        if (tries++ < 2) throw new Error("not yet");
        return {
          source: "broken",
          watch(sink) {
            sink.replace([A]);
            return QUIET;
          },
        };
      },
    });
    const { runtime, mesh, call, events } = setUp(kind, 1);
    const first = call().catch(() => "failed");
    await runtime.advance(3_000);
    expect(await first).toBe("failed");
    await runtime.advance(3_000);
    expect((await call()).code).toBe(200);
    expect(events()).toEqual(["discovery.failed", "discovery.recovered"]);
    await mesh.close(0);
  });

  it("never answers: calls fail after 3 s, and after 30 s it is counted, logged and shown", async () => {
    const { runtime, mesh, call, count, events, discovery } = setUp(
      watching(() => QUIET),
      1,
    );
    const failing = expect(call()).rejects.toMatchObject({ reason: "discovery_pending" });
    await runtime.advance(3_000);
    await failing;
    expect(discovery().state).toBe("pending");
    await runtime.advance(27_000);
    expect(count("inmesh.discovery.errors")).toBe(1);
    expect(events()).toEqual(["discovery.failed"]);
    expect(discovery()).toMatchObject({ state: "stale", error: "it has not answered for 30 s" });
    await mesh.close(0);
  });

  it("answers twice: the second answer replaces the first, and twice the same endpoint is one", async () => {
    const kind = watching((sink) => {
      sink.replace([A]);
      sink.replace([A, A, { host: "10.0.0.2", port: 80 }]);
      return QUIET;
    });
    const { runtime, mesh, call, count } = setUp(kind, 1);
    await call();
    await runtime.advance(200);
    expect(mesh.snapshot().services[0]!.endpoints.map(({ address }) => address)).toEqual([
      "10.0.0.1:80",
      "10.0.0.2:80",
    ]);
    expect(count("inmesh.discovery.errors")).toBe(0);
    await mesh.close(0);
  });

  it("answers after it was stopped: ignored, counted, and logged once", async () => {
    let late: EndpointSink | undefined;
    const kind = watching((sink) => {
      late = sink;
      sink.replace([A]);
      return QUIET;
    });
    const { runtime, mesh, call, count, events } = setUp(kind, 1);
    await call();
    mesh.update({ services: { orders: { discovery: { static: ["10.0.0.9:80"] } } } });
    await runtime.advance(200);
    late!.replace([{ host: "10.0.0.2", port: 80 }]);
    late!.change([{ host: "10.0.0.2", port: 80 }], []);
    late!.failed(new Error("late"));
    await runtime.advance(200);
    expect(mesh.snapshot().services[0]!.endpoints.map(({ address }) => address)).toEqual([
      "10.0.0.9:80",
    ]);
    expect(count("inmesh.discovery.late")).toBe(3);
    expect(events().filter((event) => event === "discovery.late")).toHaveLength(1);
    expect((await call()).code).toBe(200);
    await mesh.close(0);
  });

  it.each<[string, unknown, RegExp]>([
    ["no list", "10.0.0.1:80", /no list of endpoints/],
    ["a text", ["10.0.0.1:80"], /is no object/],
    ["no port", [{ host: "10.0.0.1" }], /no port/],
    ["port NaN", [{ host: "10.0.0.1", port: NaN }], /no port/],
    ["a host that is none", [{ host: "a b", port: 80 }], /DNS name/],
    ["a weight that is none", [{ ...A, weight: NaN }], /weight/],
    ["draining as a text", [{ ...A, draining: "yes" }], /draining/],
  ])("names %s: refused as a whole, and the last good endpoints stay", async (_, given, why) => {
    let sink: EndpointSink | undefined;
    const kind = watching((one) => {
      sink = one;
      one.replace([A]);
      return QUIET;
    });
    const { runtime, mesh, call, count, lines, discovery } = setUp(kind, 1);
    await call();
    await runtime.advance(200);
    sink!.replace(given as EndpointInfo[]);
    await runtime.advance(200);
    expect(discovery()).toMatchObject({
      state: "stale",
      error: expect.stringMatching(why) as string,
    });
    expect(count("inmesh.discovery.errors")).toBe(1);
    expect(lines.map(({ message }) => message).join()).toMatch(why);
    expect((await call()).code).toBe(200);
    await mesh.close(0);
  });
});

describe("targets that a kind takes over", () => {
  const instead: (string | undefined)[] = [];
  const taker: DiscoveryKind = {
    ...list,
    open(_options, _mesh, dns) {
      instead.push(dns?.source);
      return list.open({ name: "taken" }, _mesh);
    },
    takeOver(target) {
      if (target.kind === "dns" && target.host === "broken.svc") throw new Error("broken");
      return target.kind === "dns" && target.host.endsWith(".svc") ? { name: "taken" } : undefined;
    },
  };
  const asked = async (url: string, options: MeshOptions): Promise<string | undefined> => {
    const mesh = createMesh({ env: {}, runtime: new SimRuntime(1), ...options });
    const protocol = stubProtocol((exchange) => exchange.reply());
    mesh.service(url, protocol);
    const { source } = mesh.snapshot().services[0]!.discovery;
    await mesh.close(0);
    return source;
  };

  it("are opened by it, with the source of the kind that read them", async () => {
    instead.length = 0;
    const options = { discoveries: [taker] };
    expect(await asked("http://orders.svc:80", options)).toBe("list");
    expect(await asked("http://orders.test:80", options)).toBe("dns");
    expect(await asked("http://10.0.0.1:80", options)).toBe("static");
    expect(await asked("http://broken.svc:80", options)).toBe("dns");
    expect(instead).toEqual(["dns"]);
  });

  it("also by a kind that a package adds to every mesh, unless the application has one of that name", async () => {
    const made: MadeMesh[] = [];
    discoverForEveryMesh((mesh) => {
      made.push(mesh);
      return mesh.env["POD"] === "yes" && mesh.kubernetes ? { ...taker, name: "list" } : undefined;
    });
    const url = "http://orders.svc:80";
    const env = { POD: "yes" };
    expect(await asked(url, { env })).toBe("list");
    expect(await asked(url, {})).toBe("dns");
    expect(await asked(url, { env, kubernetes: false })).toBe("dns");
    expect(await asked(url, { env: { ...env, INMESH_KUBERNETES: "off" } })).toBe("dns");
    expect(await asked(url, { env: { ...env, INMESH_KUBERNETES: "off" }, kubernetes: true })).toBe(
      "list",
    );
    expect(await asked(url, { env, discoveries: [list] })).toBe("dns");
    expect(made).toHaveLength(6);
    expect(() => createMesh({ env: { INMESH_KUBERNETES: "no" } })).toThrow("must be on or off");
  });
});

describe("checks of a kind", () => {
  const checkedBy = async (check: DiscoveryKind["check"]): Promise<readonly Check[]> => {
    const runtime = new SimRuntime(1);
    const kind = { ...list, ...(check !== undefined && { check }) };
    const { mesh, call } = setUp(kind, { name: "orders" }, { runtime });
    await call();
    const asked = new Inspection(mesh).checks();
    await runtime.advance(10_000);
    const { checks } = await asked;
    await mesh.close(0);
    return checks.filter(({ group }) => group === "list" || group === "discovery");
  };
  const hangs = (): Promise<never> => new Promise(() => {});

  it("stand behind those of the mesh, under its name, and see what the process calls", async () => {
    let seen: CheckedMesh | undefined;
    const good = {
      id: "list-there",
      status: "ok",
      message: "it is there",
      page: "list.md",
    } as const;
    const found = await checkedBy((mesh) => {
      seen = mesh;
      return Promise.resolve([good]);
    });
    expect(found).toEqual([{ ...good, group: "list", subject: undefined, hint: undefined }]);
    expect(seen?.services).toEqual([
      {
        name: "orders",
        discovery: { kind: "own", name: "list", options: { name: "orders" } },
        source: "list",
      },
    ]);
    expect(await checkedBy(undefined)).toEqual([]);
  });

  it.each<[string, DiscoveryKind["check"], string]>([
    ["that throw", () => Promise.reject(new Error("no list")), "no list"],
    ["that never end", hangs, "it has not answered within 10 s"],
    ["of another shape", () => Promise.resolve([{ id: "a" }] as never), "a has no status"],
    ["that are no list", () => Promise.resolve(7 as never), "is not a function"],
  ])("%s are one warning", async (_, check, message) => {
    const found = await checkedBy(check);
    expect(found).toMatchObject([{ id: "kind-checked", subject: "list", status: "warning" }]);
    expect(found[0]!.message).toContain(message);
  });
});
