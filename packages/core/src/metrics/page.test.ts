/** The page for Prometheus, from the Accept header to the last line, with names as hostile as they may be. */
import { describe, expect, it } from "vitest";
import { Call } from "../call.ts";
import { createMesh } from "../mesh.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { StubRequest, stubProtocol } from "../testing/stub-transport.ts";
import { CALL_DURATION, CALLS, CALL_ACTIVE } from "../telemetry/instruments.ts";
import { Recorder } from "../telemetry/recorder.ts";
import type { Instrument, Series } from "../telemetry/telemetry.ts";
import { metricsPage } from "./page.ts";

const OPENMETRICS = "application/openmetrics-text; version=1.0.0";
const HITS: Instrument = { name: "acme.hits", unit: "{hit}", description: "Hits." };

function pageOf(recorder: Recorder, accept: string = OPENMETRICS): Promise<string> {
  const mesh = { metrics: () => recorder.read(), runtime: new SimRuntime(1) };
  return metricsPage(mesh, accept).then(({ body }) => body);
}

describe("formats", () => {
  const recorder = new Recorder(new SimRuntime(1));
  recorder.counter(CALLS, { service: "orders", outcome: "success" }).add(3);
  const histogram = { ...CALL_DURATION, name: "acme.wait", description: 'A "wait".\nLong.' };
  const wait = recorder.histogram({ ...histogram, bounds: [0.5, 1] }, { service: "orders" });
  for (const value of [0.1, 0.7, 3]) wait.record(value);
  recorder.gauge({ ...HITS, name: "acme.share", unit: "1" }, {}, () => Infinity);

  it("OpenMetrics has types, units, helps, limits with a point, and an end", async () => {
    expect(await pageOf(recorder)).toBe(
      `# TYPE acme_share_ratio gauge
# UNIT acme_share_ratio ratio
# HELP acme_share_ratio Hits.
acme_share_ratio +Inf
# TYPE acme_wait_seconds histogram
# UNIT acme_wait_seconds seconds
# HELP acme_wait_seconds A \\"wait\\".\\nLong.
acme_wait_seconds_bucket{service="orders",le="0.5"} 1
acme_wait_seconds_bucket{service="orders",le="1.0"} 2
acme_wait_seconds_bucket{service="orders",le="+Inf"} 3
acme_wait_seconds_sum{service="orders"} 3.8
acme_wait_seconds_count{service="orders"} 3
# TYPE inmesh_calls counter
# HELP inmesh_calls Calls that ended, as the application saw them.
inmesh_calls_total{inmesh_outcome="success",inmesh_service="orders"} 3
# EOF
`,
    );
  });

  it("text 0.0.4 has counters with their ending, and no unit, point or end", async () => {
    expect(await pageOf(recorder, "text/plain")).toBe(
      `# HELP acme_share_ratio Hits.
# TYPE acme_share_ratio gauge
acme_share_ratio +Inf
# HELP acme_wait_seconds A "wait".\\nLong.
# TYPE acme_wait_seconds histogram
acme_wait_seconds_bucket{service="orders",le="0.5"} 1
acme_wait_seconds_bucket{service="orders",le="1"} 2
acme_wait_seconds_bucket{service="orders",le="+Inf"} 3
acme_wait_seconds_sum{service="orders"} 3.8
acme_wait_seconds_count{service="orders"} 3
# HELP inmesh_calls_total Calls that ended, as the application saw them.
# TYPE inmesh_calls_total counter
inmesh_calls_total{inmesh_outcome="success",inmesh_service="orders"} 3
`,
    );
  });

  it.each([
    [undefined, "text"],
    [null, "text"],
    ["", "text"],
    ["*/*", "text"],
    ["text/html, */*;q=0.1", "text"],
    [OPENMETRICS, "openmetrics"],
    ["application/openmetrics-text", "openmetrics"],
    ["APPLICATION/OpenMetrics-Text; Version=1.0.0", "openmetrics"],
    ["application/openmetrics-text; version=2.0.0", "text"],
    ["application/openmetrics-text; q=0", "text"],
    ["application/openmetrics-text; q=0.3, text/plain; q=0.5", "text"],
    ["text/plain; q=0.5, application/openmetrics-text; q=0.5", "openmetrics"],
    ["application/openmetrics-text; q=nonsense", "text"],
    [`${",".repeat(20_000)};q=;=`, "text"],
    // Prometheus 2.42, and 3.0 without protobuf.
    [
      "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
      "openmetrics",
    ],
    [
      "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,*/*;q=0.2",
      "openmetrics",
    ],
  ])("Accept: %s gives %s", async (accept, format) => {
    const mesh = { metrics: () => [], runtime: new SimRuntime(1) };
    const page = await metricsPage(mesh, accept);
    const isOpen = format === "openmetrics";
    expect(page).toEqual({
      contentType: isOpen
        ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
        : "text/plain; version=0.0.4; charset=utf-8",
      body: isOpen ? "# EOF\n" : "",
    });
  });
});

describe("names", () => {
  it.each([
    ["acme.size", "By", "gauge", "acme_size_bytes"],
    ["acme.size.bytes", "By", "gauge", "acme_size_bytes"],
    ["acme.speed", "By/s", "gauge", "acme_speed_bytes_per_second"],
    ["acme.share", "1", "gauge", "acme_share_ratio"],
    ["acme.hits", "1", "counter", "acme_hits_total"],
    ["acme.hits_total", "{hit}", "counter", "acme_hits_total"],
    ["acme.busy", "s", "counter", "acme_busy_seconds_total"],
    ["acme..my/name-", "", "gauge", "acme_my_name"],
    ["1st", "", "gauge", "_1st"],
    ["größe", "", "gauge", "gr_e"],
    ["", "", "gauge", "_"],
  ] as const)("%j in %j as a %s is %s", async (name, unit, kind, written) => {
    const recorder = new Recorder(new SimRuntime(1));
    const instrument = { name, unit, description: "" };
    if (kind === "counter") recorder.counter(instrument, {}).add(1);
    else recorder.gauge(instrument, {}, () => 1);
    expect(await pageOf(recorder, "")).toContain(`\n${written} 1\n`);
  });

  it("labels that Prometheus could not take get other names, and keep their values", async () => {
    const recorder = new Recorder(new SimRuntime(1));
    const labels = { "a.b": "1", a_b: "2", le: "3", __name__: "4", "5": "5", "": "6" };
    recorder.histogram({ ...HITS, bounds: [1] }, labels).record(0);
    const label = 'a_b="1;2",key_="6",key_5="5",key___name__="4",key_le="3"';
    expect(await pageOf(recorder)).toContain(`\nacme_hits_count{${label}} 1\n`);
  });

  it("of two instruments that would have one name there, the first has it", async () => {
    const recorder = new Recorder(new SimRuntime(1));
    recorder.counter(HITS, {}).add(1);
    recorder.counter({ ...HITS, name: "acme.hits_total" }, {}).add(2);
    recorder.gauge({ ...HITS, name: "acme_hits" }, {}, () => 3);
    recorder.histogram({ ...HITS, name: "acme.took", bounds: [] }, {}).record(1);
    recorder.gauge({ ...HITS, name: "acme.took.sum" }, {}, () => 4);
    const page = await pageOf(recorder);
    expect(page.match(/^[^#].*$/gm)).toEqual([
      "acme_hits_total 1",
      'acme_took_bucket{le="+Inf"} 1',
      "acme_took_sum 1",
      "acme_took_count 1",
    ]);
  });
});

describe("values", () => {
  it.each([
    ['say "hi"', 'say \\"hi\\"'],
    ["back\\slash", "back\\\\slash"],
    ["two\nlines", "two\\nlines"],
    ["\r\0\u001b[31m\u009b\u007f", "\\\\u000d\\\\u0000\\\\u001b[31m\\\\u009b\\\\u007f"],
    ["half \ud800 of a pair", "half \ufffd of a pair"],
    ["größe 🙂", "größe 🙂"],
    ['"} 1\n# EOF\nup 0', '\\"} 1\\n# EOF\\nup 0'],
  ])("a service named %j is one label of one line", async (service, written) => {
    const recorder = new Recorder(new SimRuntime(1));
    recorder.counter({ ...HITS, description: service }, { service }).add(1);
    const page = await pageOf(recorder);
    expect(page).toContain(`\nacme_hits_total{service="${written}"} 1\n`);
    expect(page).toContain(`\n# HELP acme_hits ${written}\n`);
    expect(page.split("\n")).toHaveLength(5);
  });

  it("names that end in the middle of a character are the same in every kind of series", () => {
    const recorder = new Recorder(new SimRuntime(1));
    const service = `${"s".repeat(127)}🙂`;
    recorder.counter(CALLS, { service }).add(1);
    recorder.gauge(CALL_ACTIVE, { service }, () => 1);
    const names = recorder.read().map(({ labels }) => labels["service"]);
    expect(names).toEqual([`${"s".repeat(127)}\ufffd`, `${"s".repeat(127)}\ufffd`]);
  });

  it("P2 CO: what no counter can be has no line, and a gauge that throws is NaN", async () => {
    const recorder = new Recorder(new SimRuntime(1));
    recorder.counter(HITS, { kind: "nan" }).add(Number.NaN);
    recorder.counter(HITS, { kind: "negative" }).add(-1);
    recorder.counter(HITS, { kind: "good" }).add(2.5);
    recorder.histogram({ ...HITS, name: "acme.took", bounds: [1] }, {}).record(Number.NaN);
    recorder.gauge({ ...HITS, name: "acme.lost" }, {}, () => -Infinity);
    recorder.gauge({ ...HITS, name: "acme.thrown" }, {}, () => {
      throw new Error("a gauge that throws");
    });
    const page = await pageOf(recorder);
    expect(page.match(/^[^#].*$/gm)).toEqual([
      'acme_hits_total{kind="good"} 2.5',
      "acme_lost -Inf",
      "acme_thrown NaN",
      'acme_took_bucket{le="1.0"} 1',
      'acme_took_bucket{le="+Inf"} 1',
    ]);
  });
});

describe("as a whole", () => {
  it("the order of a page is that of names and labels, not of time", async () => {
    const [one, two] = [new Recorder(new SimRuntime(1)), new Recorder(new SimRuntime(1))];
    const names = ["b", "a", "c"];
    for (const service of names) one.counter(HITS, { service, zone: "z" }).add(1);
    for (const service of names.toReversed()) two.counter(HITS, { zone: "z", service }).add(1);
    one.counter(CALLS, {}).add(1);
    two.counter(CALLS, {}).add(1);
    expect(await pageOf(one)).toBe(await pageOf(two));
  });

  it("a service that was called once is on the page a day later, with the same numbers", async () => {
    const runtime = new SimRuntime(1);
    const mesh = createMesh({ env: {}, runtime });
    const protocol = stubProtocol((exchange) => exchange.reply("success", 200, { open: false }));
    const discovery = { static: ["10.0.0.1:80"] };
    const service = mesh.service("orders", protocol, { discovery });
    await service.current(new Call("orders", new StubRequest(), true, true));
    const linesOf = async (): Promise<string[]> =>
      (await metricsPage(mesh)).body.match(/^[^#].*"orders".*$/gm)!.map((line) => line.trim());
    const namesOf = (lines: readonly string[]): string[] =>
      lines.map((line) => line.slice(0, line.lastIndexOf(" ")));
    const before = await linesOf();
    expect(before.length).toBeGreaterThan(40);
    await runtime.advance(86_400_000);
    const after = await linesOf();
    expect(namesOf(after)).toEqual(namesOf(before));
    const isTotal = (line: string): boolean => /^\w+_(total|count)\{/.test(line);
    expect(after.filter(isTotal)).toEqual(before.filter(isTotal));
    await mesh.close(0);
  });

  it("equal labels of plain data are one line", async () => {
    const series: Series = {
      kind: "counter",
      name: "a",
      unit: "",
      description: "",
      startedAtWallMs: 0,
      labels: { x: "\ud800" },
      value: 1,
    };
    const other: Series = { ...series, labels: { x: "\ud801" } };
    const mesh = { metrics: () => [series, other], runtime: new SimRuntime(1) };
    expect((await metricsPage(mesh)).body).toContain('\na_total{x="\ufffd"} 1\n');
    expect((await metricsPage(mesh)).body.split("\n")).toHaveLength(4);
  });

  it("a page of 2 000 series lets I/O pass many times, and scrapes at once share one", async () => {
    const runtime = new SimRuntime(1);
    let reads = 0;
    let turns = 0;
    let now = 0;
    const recorder = new Recorder(runtime);
    for (let i = 0; i < 2_000; i++) recorder.counter(HITS, { service: `s${i}` }).add(1);
    const mesh = {
      metrics: () => (reads++, recorder.read()),
      // Each look at the clock is a millisecond later.
      runtime: Object.assign(Object.create(runtime) as SimRuntime, {
        now: () => now++,
        afterIo: (run: () => void) => void (turns++, queueMicrotask(run)),
      }),
    };
    const pages = await Promise.all([1, 2, 3].map(() => metricsPage(mesh, OPENMETRICS)));
    expect(pages[0]!.body.match(/^acme_hits_total/gm)).toHaveLength(2_000);
    expect(new Set(pages).size).toBe(1);
    expect(reads).toBe(1);
    expect(turns).toBeGreaterThan(50);
    await metricsPage(mesh, OPENMETRICS);
    expect(reads).toBe(2);
  });

  it("what mesh.metrics() throws reaches the scrape, and the next one is asked anew", async () => {
    let broken = true;
    const mesh = {
      runtime: new SimRuntime(1),
      metrics: (): Series[] => {
        if (broken) throw new Error("not now");
        return [];
      },
    };
    await expect(metricsPage(mesh)).rejects.toThrow("not now");
    broken = false;
    expect((await metricsPage(mesh)).body).toBe("");
  });
});
