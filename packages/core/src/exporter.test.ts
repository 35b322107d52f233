/** Measurements in several places, instruments of packages, and exporters that live with their mesh. */
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { Call } from "./call.ts";
import type { LogLine } from "./log.ts";
import { createMesh } from "./mesh.ts";
import type { MeshOptions } from "./mesh-options.ts";
import { SimRuntime } from "./testing/sim-runtime.ts";
import { StubRequest, stubProtocol } from "./testing/stub-transport.ts";
import type { Exporter } from "./exporter.ts";
import { INSTRUMENTS } from "./telemetry/instruments.ts";
import { Recorder } from "./telemetry/recorder.ts";
import type { Series } from "./telemetry/telemetry.ts";

function setUp(options: MeshOptions = {}, open = false) {
  const runtime = new SimRuntime(5);
  const lines: LogLine[] = [];
  const mesh = createMesh({ env: {}, runtime, log: (line) => void lines.push(line), ...options });
  const service = mesh.service(
    "orders",
    stubProtocol((exchange) => exchange.reply("success", 200, { open })),
    { discovery: { static: ["10.0.0.1:80"] } },
  );
  const send = () => service.current(new Call("orders", new StubRequest(), true, true));
  return { runtime, mesh, send, lines };
}

const valueOf = (series: readonly Series[], name: string): unknown =>
  series.find((one) => one.name === name && one.kind === "counter");

describe("several places at once", () => {
  it("the recorder and every exporter get the same", async () => {
    const [one, two] = [new Recorder(), new Recorder()];
    const exporters = [
      { name: "one", telemetry: one },
      { name: "two", telemetry: two },
    ];
    const { mesh, send } = setUp({ exporters });
    await send();
    for (const series of [mesh.metrics(), one.read(), two.read()]) {
      expect(valueOf(series, "inmesh.calls")).toMatchObject({ value: 1 });
      expect(series.find(({ kind }) => kind === "histogram")).toMatchObject({ count: 1 });
      expect(series.some(({ name }) => name === "inmesh.call.active")).toBe(true);
    }
    await mesh.close();
    for (const { read } of [one, two].map((all) => ({ read: all.read() }))) {
      const gauges = read.filter(({ kind }) => kind === "gauge").map(({ name }) => name);
      // Those stay, to show that nothing is left.
      expect(new Set(gauges)).toEqual(new Set(["inmesh.handles"]));
    }
  });

  it("`telemetry` takes the place of the recorder, and exporters stand beside it", async () => {
    const [own, beside] = [new Recorder(), new Recorder()];
    const { mesh, send } = setUp({
      telemetry: own,
      exporters: [{ name: "beside", telemetry: beside }],
    });
    await send();
    expect(mesh.metrics()).toEqual([]);
    expect(valueOf(own.read(), "inmesh.calls")).toEqual(
      expect.objectContaining({ value: 1, labels: expect.anything() as unknown }),
    );
    expect(valueOf(beside.read(), "inmesh.calls")).toMatchObject({ value: 1 });
    await mesh.close();
  });

  it("P2 CO: one that throws costs the others nothing", async () => {
    const boom = (): never => {
      throw new Error("boom");
    };
    const broken = { counter: boom, histogram: boom, gauge: boom };
    const { mesh, send } = setUp({ exporters: [{ name: "broken", telemetry: broken }] });
    await send();
    expect(valueOf(mesh.metrics(), "inmesh.calls")).toMatchObject({ value: 1 });
    await mesh.close();
  });
});

describe("series", () => {
  it("say what they mean and since when they count", async () => {
    const { mesh, send, runtime } = setUp();
    const startedAt = runtime.wallNow();
    await runtime.advance(5_000);
    await send();
    for (const one of mesh.metrics()) {
      const { unit, description } = INSTRUMENTS.find(({ name }) => name === one.name)!;
      expect(one).toMatchObject({ unit, description });
    }
    expect(valueOf(mesh.metrics(), "inmesh.calls")).toMatchObject({
      startedAtWallMs: startedAt + 5_000,
    });
    await mesh.close();
  });

  it("of a package's own instruments stand among them", async () => {
    const { mesh } = setUp();
    const instrument = { name: "acme.cache.hits", unit: "{hit}", description: "Hits." };
    mesh.telemetry.counter(instrument, { cache: "a" }).add(3);
    const own = mesh.metrics().find(({ name }) => name === instrument.name);
    expect(own).toMatchObject({ ...instrument, kind: "counter", value: 3, labels: { cache: "a" } });
    await mesh.close();
  });

  it("P2 CO: an instrument whose name is taken for something else is refused", () => {
    const recorder = new Recorder(new SimRuntime(1));
    const hits = { name: "acme.hits", unit: "{hit}", description: "Hits." };
    recorder.counter(hits, {});
    recorder.counter({ ...hits }, { again: "yes" });
    expect(() => recorder.gauge(hits, {}, () => 1)).toThrow(
      "acme.hits is a counter in {hit}, and cannot be a gauge in {hit}",
    );
    expect(() => recorder.counter({ ...hits, unit: "s" }, {})).toThrow("cannot be a counter in s");
    expect(() => recorder.counter({ ...hits, name: "inmesh.calls" }, {})).toThrow(
      "inmesh.calls is an instrument of the mesh",
    );
  });
});

describe("an exporter", () => {
  it("is started with the mesh, observes from the first call, and closes after the last", async () => {
    const received: string[] = [];
    const exporter: Exporter = {
      name: "x",
      observer: { callEnded: ({ outcome }) => void received.push(`over ${outcome}`) },
      start: (mesh) => void received.push(`start ${mesh.metrics().length > 0}`),
      close: (withinMs) => void received.push(`close ${withinMs}`),
    };
    const { mesh, send, runtime } = setUp({ exporters: [exporter] }, true);
    await send();
    const closing = mesh.close(1_000);
    expect(mesh.close()).toBe(closing);
    await runtime.advance(2_000);
    await closing;
    // The call that did not end had nine tenths of the time.
    expect(received).toEqual(["start true", "over abandoned", "close 100"]);
    expect(mesh.snapshot().observers.attached).toBe(0);
  });

  it("P2 CO: that never ends does not hold up the close, and is named in the log", async () => {
    const never: Exporter = { name: "stuck", close: () => new Promise(() => {}) };
    const { mesh, runtime, lines } = setUp({ exporters: [never] });
    const startedAt = runtime.now();
    const closing = mesh.close(10_000);
    await runtime.advance(20_000);
    await closing;
    expect(mesh.snapshot()).toMatchObject({ state: "closed", observers: { errors: 1 } });
    expect(lines.filter(({ event }) => event === "exporter.failed")).toEqual([
      expect.objectContaining({ message: expect.stringContaining("stuck") as unknown }),
    ]);
    expect(startedAt).toBeLessThan(runtime.now());
  });

  it.each([
    [
      "in start",
      {
        start: () => {
          throw new Error("boom");
        },
      },
    ],
    [
      "in close",
      {
        close: () => {
          throw new Error("boom");
        },
      },
    ],
    ["in close, later", { close: () => Promise.reject(new Error("boom")) }],
    ["in start, later", { start: () => Promise.reject(new Error("boom")) as unknown as undefined }],
    [
      "in close, as a promise of another realm",
      { close: runInNewContext("() => Promise.reject(new Error('boom'))") as () => Promise<void> },
    ],
  ])("P2 CO: that fails %s is counted and logged, and nothing else happens", async (_, hooks) => {
    const { mesh, send, lines } = setUp({ exporters: [{ name: "x", ...hooks }] });
    expect(await send()).toMatchObject({ code: 200 });
    await mesh.close(1_000);
    expect(mesh.snapshot().observers.errors).toBe(1);
    expect(lines.map(({ event }) => event)).toContain("exporter.failed");
  });

  it("with mistakes is refused with all of them", () => {
    const exporters = [{ name: "" }, 7, { name: "x", observer: { callEnd() {} } }] as never;
    expect(() => createMesh({ env: {}, exporters })).toThrow(
      /exporters\[0\]\.name[^]*exporters\[1\]\.name[^]*exporters\[2\]\.observer\.callEnd/,
    );
  });
});
