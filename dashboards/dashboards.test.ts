/**
 * Every query of every dashboard and rule has data: a scenario in which everything happens is read by a real
 * Prometheus, and then each of them is asked. What is shown is compared with what was true.
 */
import { type ChildProcess, fork, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Dashboard, Panel, RowPanel } from "@grafana/grafana-foundation-sdk/dashboard";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CATALOGUE } from "./catalogue.ts";
import { FILES } from "./files.ts";
import { DASHBOARDS } from "./index.ts";
import { LINKERD_NAMES } from "./linkerd-names.ts";
import { type Answer, Prometheus } from "./prometheus.ts";
import { labelsIn, metricsIn, mistakeIn, selectorsIn } from "./promql.ts";
import { type Group, RULES } from "./rules.ts";
import type { FromScenario, Truth } from "./scenario/truth.ts";

const root: string = join(import.meta.dirname, "..");

/** Alerts whose condition the scenario does not bring about. All that they ask for has data all the same. */
const NOT_PLAYED: ReadonlyMap<string, string> = new Map([
  ["InmeshOverhead", "the mesh itself would have to be slow"],
  ["InmeshVersionSkew", "three versions of inmesh would have to run"],
  ["InmeshRuntimeBelowFloor", "depends on the version of Node that runs the tests"],
]);

/** Metrics that no dashboard and no rule asks for, and why. */
const UNUSED: ReadonlyMap<string, string> = new Map([]);

/** Types of panels that current versions of Grafana no longer have. */
const DEPRECATED = ["graph", "singlestat", "table-old", "grafana-worldmap-panel"];

const panelsOf = ({ panels = [] }: Dashboard): Panel[] =>
  panels.filter((one): one is Panel => one.type !== "row");
const queriesOf = (panel: Panel): string[] =>
  (panel.targets ?? []).map((target) => (target as unknown as { expr: string }).expr);
const annotationsOf = ({ annotations }: Dashboard): string[] =>
  (annotations?.list ?? []).map(({ expr }) => expr ?? "");
const variablesOf = ({ templating }: Dashboard): { name: string; definition: string }[] =>
  (templating?.list ?? [])
    .filter(({ type }) => type === "query")
    .map(({ name, definition = "" }) => ({ name, definition }));

const groups: readonly Group[] = [...RULES, ...LINKERD_NAMES];
const rules = groups.flatMap((group) => group.rules);
const everyQuery: string[] = [
  ...DASHBOARDS.flatMap((one) => [...panelsOf(one).flatMap(queriesOf), ...annotationsOf(one)]),
  ...rules.map(({ expr }) => expr),
];
const recorded = new Set(rules.flatMap((rule) => ("record" in rule ? [rule.record] : [])));

/** What Grafana puts in the place of its variables. */
function filled(query: string, values: Readonly<Record<string, string>>): string {
  return query.replaceAll(/\$(\w+)/g, (whole, name: string) => values[name] ?? whole);
}
const parseable = (query: string): string =>
  filled(query, { __rate_interval: "1m", __interval: "1m", __range: "1h" });

describe("form", () => {
  it.for([...FILES])("%s is what the code makes", ([path, text]) => {
    // Else: node dashboards/write.ts
    expect(readFileSync(join(root, path), "utf8")).toBe(text);
  });

  it("there are eight, each with an id of its own", () => {
    expect(DASHBOARDS.map(({ uid }) => uid)).toEqual([
      "inmesh-overview",
      "inmesh-service",
      "inmesh-routes",
      "inmesh-endpoints",
      "inmesh-resilience",
      "inmesh-identity",
      "inmesh-discovery",
      "inmesh-runtime",
    ]);
  });

  it.for(DASHBOARDS.map((one) => [one.uid ?? "", one] as const))(
    "%s: every panel has what a panel needs, in a place of its own",
    ([, one]) => {
      const all = one.panels ?? [];
      const ids = all.map(({ id }: Panel | RowPanel) => id);
      expect(new Set(ids).size).toBe(ids.length);
      const taken = new Set<string>();
      for (const { gridPos } of all as Panel[]) {
        const { x, y, w, h } = gridPos!;
        expect(x + w).toBeLessThanOrEqual(24);
        for (let column = x; column < x + w; column++) {
          for (let line = y; line < y + h; line++) {
            const cell = `${column},${line}`;
            expect(taken.has(cell), `two panels at ${cell}`).toBe(false);
            taken.add(cell);
          }
        }
      }
      for (const panel of panelsOf(one)) {
        const { title = "", description = "", fieldConfig, datasource, type } = panel;
        expect(title).not.toBe("");
        expect(description, title).toMatch(/\.$/);
        expect(fieldConfig?.defaults.unit, title).toBeTruthy();
        expect(fieldConfig?.defaults.thresholds?.steps.length, title).toBeGreaterThan(0);
        expect(datasource, title).toEqual({ type: "prometheus", uid: "${datasource}" });
        expect(DEPRECATED).not.toContain(type);
        expect(panel.targets?.length, title).toBeGreaterThan(0);
      }
      const names = (one.templating?.list ?? []).map(({ name }) => name);
      expect(names.slice(0, 2)).toEqual(["datasource", "inmesh_service"]);
      const text = JSON.stringify(one.panels);
      for (const name of names.slice(1)) expect(text, `uses ${name}`).toContain(`$${name}`);
      expect(annotationsOf(one)).toHaveLength(2);
    },
  );

  it("panels of latency ask for exemplars", () => {
    const latency = DASHBOARDS.flatMap(panelsOf).filter(({ title = "" }) =>
      /^Duration|p99/.test(title),
    );
    const lines = latency.filter(({ type }) => type === "timeseries");
    expect(lines.length).toBeGreaterThan(8);
    const asking = lines.filter(({ targets = [] }) =>
      targets.some((target) => (target as unknown as { exemplar?: boolean }).exemplar === true),
    );
    expect(asking.length).toBeGreaterThan(8);
  });

  it("every query is PromQL, over metrics and labels of the reference", () => {
    const samples = new Set(CATALOGUE.flatMap((family) => family.samples));
    const labels = new Set(CATALOGUE.flatMap((family) => family.labels));
    const ofPrometheus = new Set(["le", "job", "instance"]);
    const unknown = new Set<string>();
    for (const query of everyQuery.map(parseable)) {
      expect(mistakeIn(query), query).toBeUndefined();
      for (const metric of metricsIn(query)) {
        if (!samples.has(metric) && !recorded.has(metric)) unknown.add(metric);
      }
      for (const label of labelsIn(query)) {
        if (!labels.has(label) && !ofPrometheus.has(label)) unknown.add(label);
      }
    }
    expect([...unknown].toSorted()).toEqual([]);
  });

  it("every metric is used, or it is said why not", () => {
    const used = new Set(everyQuery.map(parseable).flatMap((query) => [...metricsIn(query)]));
    const left = CATALOGUE.filter(({ samples }) => !samples.some((name) => used.has(name))).map(
      ({ instrument }) => instrument,
    );
    expect(left.toSorted()).toEqual([...UNUSED.keys()].toSorted());
  });
});

// ── with a real Prometheus ──────────────────────────────────────────────────────────────────────

const missing: string[] = ["prometheus", "promtool"].filter(
  (program) => spawnSync(program, ["--version"]).error !== undefined,
);

it("Prometheus is on the PATH", ({ skip }) => {
  if (missing.length === 0) return;
  const why = `${missing.join(" and ")}: not on the PATH (on Debian: apt-get install prometheus)`;
  if ((process.env["CI"] ?? "") === "") skip(why);
  throw new Error(why);
});

/** In the scenario minutes are seconds. */
const WINDOW = "10s";

interface Played {
  readonly prometheus: Prometheus;
  readonly truth: Truth;
  /** Of the process in which all happens but the busy loop. */
  readonly instance: string;
  /** Text of its page at the end, in the text format. */
  readonly page: string;
  readonly start: number;
  readonly end: number;
  /** By the name of a variable: as Grafana writes "All of them" into a query. */
  readonly values: Readonly<Record<string, string>>;
}

describe.skipIf(missing.length > 0)("with the data of a scenario", () => {
  let played: Played;
  const children: ChildProcess[] = [];
  const folder = mkdtempSync(join(tmpdir(), "inmesh-dashboards-"));

  beforeAll(async () => {
    const [scenario, busy] = [start("main"), start("busy")];
    const { address } = await scenario.said("page");
    const second = await busy.said("page");
    const written = [...FILES].filter(([path]) => path.endsWith(".yml"));
    const files = written.map(([path, text], i) => {
      const file = join(folder, `rules-${i}.yml`);
      // Windows of hours have the data of seconds; what is evaluated twice a minute is so each second.
      writeFileSync(file, text.replaceAll(/interval: \S+/g, "interval: 1s"));
      expect(path).toBeTruthy();
      return file;
    });
    const targets = { scenario: address, busy: second.address };
    const prometheus = await Prometheus.start({ targets, rules: files });
    const begun = Date.now() / 1000;
    scenario.child.send("go");
    await scenario.said("played");
    // A busy machine misses a reading now and then, and what was missed has no value at that instant.
    for (const before = Date.now(); Date.now() - before < 40_000; await sleep(100)) {
      const [all] = await prometheus.ask("sum(min_over_time(up[4s]))");
      if (Number(all?.value?.[1]) === Object.keys(targets).length) break;
    }
    scenario.child.send("truth");
    const { truth } = await scenario.said("truth");
    await scenario.said("end");
    const end = Date.now() / 1000;
    const page = await (await fetch(`http://${address}/`)).text();
    const values: Record<string, string> = {
      __rate_interval: WINDOW,
      __interval: "2s",
      __range: `${Math.ceil(end - begun)}s`,
    };
    played = { prometheus, truth, page, instance: address, start: begun, end, values };
    for (const { name, definition } of DASHBOARDS.flatMap(variablesOf)) {
      values[name] = (await valuesOf(definition)).join("|");
    }
  }, 150_000);

  afterAll(async () => {
    for (const child of children) child.kill("SIGKILL");
    await played?.prometheus.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Begins a process, and gives what it says. */
  function start(name: string): {
    child: ChildProcess;
    said<T extends FromScenario["type"]>(type: T): Promise<FromScenario & { type: T }>;
  } {
    const messages: FromScenario[] = [];
    const child = fork(join(import.meta.dirname, `scenario/${name}.ts`), {
      execArgv: ["--conditions=inmesh-source", "--disable-warning=ExperimentalWarning"],
    });
    children.push(child);
    child.on("message", (message) => messages.push(message as FromScenario));
    return {
      child,
      async said<T extends FromScenario["type"]>(type: T) {
        for (const before = Date.now(); Date.now() - before < 100_000; await sleep(50)) {
          const found = messages.find((one) => one.type === type);
          if (found !== undefined) return found as FromScenario & { type: T };
          if (child.exitCode !== null) break;
        }
        throw new Error(`the process ${name} has not said ${type}`);
      },
    };
  }

  /** Of `label_values(selector, label)`. */
  async function valuesOf(definition: string): Promise<string[]> {
    const [, selector = "", label = ""] = /^label_values\((.*), (\w+)\)$/.exec(definition) ?? [];
    const match = filled(selector, played.values);
    return (await played.prometheus.get(`label/${label}/values`, { "match[]": match })) as string[];
  }

  const ask = (query: string): Promise<readonly Answer[]> =>
    played.prometheus.askRange(filled(query, played.values), {
      start: played.start,
      end: played.end,
      stepSeconds: 1,
    });
  const hasData = (answers: readonly Answer[]): boolean =>
    answers.some(({ values = [] }) => values.some(([, value]) => Number.isFinite(Number(value))));
  async function without(
    queries: Iterable<readonly [where: string, query: string]>,
  ): Promise<string[]> {
    const empty: string[] = [];
    for (const [where, query] of queries) {
      if (!hasData(await ask(query))) empty.push(`${where}: ${query}`);
    }
    return empty;
  }

  it.for(DASHBOARDS.map((one) => [one.uid ?? "", one] as const))(
    "%s: every variable has values, and every query has data",
    async ([, one]) => {
      for (const { name, definition } of variablesOf(one)) {
        expect((await valuesOf(definition)).length, name).toBeGreaterThan(0);
      }
      const queries = [
        ...panelsOf(one).flatMap((panel) =>
          queriesOf(panel).map((query) => [panel.title ?? "", query] as const),
        ),
        ...annotationsOf(one).map((query) => ["annotation", query] as const),
      ];
      expect(await without(queries)).toEqual([]);
    },
  );

  it("every rule has data: what is recorded is there, and alerts fire", async () => {
    const queries = rules.flatMap((rule): (readonly [string, string])[] => {
      if ("record" in rule)
        return [
          [rule.record, rule.expr],
          [rule.record, rule.record],
        ];
      if (!NOT_PLAYED.has(rule.alert)) return [[rule.alert, rule.expr]];
      return selectorsIn(rule.expr).map((selector) => [rule.alert, selector] as const);
    });
    expect(await without(queries)).toEqual([]);
  });

  it("every metric is exported, with type, unit, help and labels of the reference", async () => {
    const metadata = (await played.prometheus.get("metadata")) as Record<
      string,
      { type: string; help: string; unit: string }[]
    >;
    const names = (await played.prometheus.get("label/__name__/values")) as string[];
    const known = new Set(CATALOGUE.flatMap(({ samples }) => samples));
    const ours = names.filter((name) => /^(inmesh|http|rpc)_/.test(name));
    expect(ours.filter((name) => !known.has(name))).toEqual([]);
    for (const { name, kind, unit, description, labels, samples, instrument } of CATALOGUE) {
      const [said] = metadata[name] ?? metadata[`${name}_total`] ?? [];
      // Standard ones have the words of their standard.
      const help = instrument.startsWith("inmesh.") ? { help: description } : {};
      expect(said, instrument).toMatchObject({ type: kind, unit, ...help });
      const series = (await played.prometheus.get("series", {
        "match[]": samples[0]!,
      })) as Record<string, string>[];
      const seen = new Set(series.flatMap((one) => Object.keys(one)));
      for (const label of ["__name__", "job", "instance", "le"]) seen.delete(label);
      expect([...seen].toSorted(), instrument).toEqual([...labels].toSorted());
    }
  });

  it("exemplars lead to the trace of a call", async () => {
    const found = (await played.prometheus.get("query_exemplars", {
      query: "inmesh_call_duration_seconds_bucket",
      start: String(played.start),
      end: String(played.end),
    })) as {
      seriesLabels: Record<string, string>;
      exemplars: { labels: { trace_id: string } }[];
    }[];
    const ids = found.flatMap(({ exemplars }) => exemplars.map(({ labels }) => labels.trace_id));
    expect(new Set(ids)).toEqual(new Set([played.truth.traceId]));
    const services = new Set(found.map(({ seriesLabels }) => seriesLabels["inmesh_service"]));
    expect([...services].toSorted()).toEqual(["exact", "orders"]);
  });

  it("promtool has nothing against the page", () => {
    const { status, stdout, stderr } = spawnSync("promtool", ["check", "metrics"], {
      input: played.page,
      encoding: "utf8",
    });
    expect({ status, said: stdout + stderr }).toEqual({ status: 0, said: "" });
  });

  // ── what is shown is what was ─────────────────────────────────────────────────────────────────

  /** The values of one query of a panel at the instant of the truth, by one label. */
  async function shown(
    uid: string,
    id: number,
    label: string,
    query = 0,
  ): Promise<Map<string, number>> {
    const panel = panelsOf(DASHBOARDS.find((one) => one.uid === uid)!).find(
      (one) => one.id === id,
    )!;
    const text = filled(queriesOf(panel)[query]!, played.values);
    const answers = await played.prometheus.ask(text, played.truth.at);
    return new Map(answers.map(({ metric, value }) => [metric[label] ?? "", Number(value?.[1])]));
  }

  it("overview: one call of ten to a service fails, and so its success is 90 %", async () => {
    expect((await shown("inmesh-overview", 202, "inmesh_service")).get("exact")).toBeCloseTo(
      0.9,
      1,
    );
    const unsafe = (await shown("inmesh-overview", 306, "")).get("");
    expect(unsafe).toBe(played.truth.supported ? 0 : 2);
  });

  it("service: as many calls per second as were made, and as many in all", async () => {
    const rates = await played.prometheus.ask(
      `sum(rate(inmesh_calls_total{inmesh_service="exact"}[${WINDOW}]))`,
      played.truth.at,
    );
    const { perSecond, calls } = played.truth;
    expect(Number(rates[0]?.value?.[1]) / perSecond).toBeCloseTo(1, 0);
    const outcomes = await shown("inmesh-service", 101, "inmesh_outcome");
    expect([...outcomes.keys()]).toContain("failure");
    const all = await played.prometheus.ask(
      `sum(inmesh_calls_total{inmesh_service="exact"})`,
      played.truth.at,
    );
    // A second passes between two readings.
    expect(Math.abs(Number(all[0]?.value?.[1]) - calls)).toBeLessThan(2 * perSecond + 5);
  });

  it("routes: a route that gets 30 % of the calls reads 30 ± 3 %", async () => {
    const shares = await shown("inmesh-routes", 105, "inmesh_route");
    expect(Math.abs(shares.get("read")! - 0.3)).toBeLessThan(0.03);
  });

  it("endpoints: the endpoint whose breaker is open reads open", async () => {
    const text = filled(
      `sum by (inmesh_endpoint) (inmesh_endpoint_state{inmesh_service="broken", inmesh_state="open"}) == 1`,
      played.values,
    );
    const answers = await played.prometheus.ask(text, played.truth.at);
    expect(answers.map(({ metric }) => metric["inmesh_endpoint"])).toEqual([played.truth.open]);
    const states = await shown("inmesh-endpoints", 102, "inmesh_endpoint");
    expect(states.has(played.truth.open)).toBe(true);
  });

  it("resilience: the budget of a service that always fails is empty, and others have theirs", async () => {
    const budgets = await shown("inmesh-resilience", 103, "inmesh_service");
    expect(budgets.get("flaky")).toBeLessThan(1);
    expect(budgets.get("exact")).toBeGreaterThan(1);
  });

  it("identity: the certificate has the time left that it has", async () => {
    const left = await shown("inmesh-identity", 101, "inmesh_kind");
    const { expiresAt, at } = played.truth;
    expect(Math.abs(left.get("leaf")! - (expiresAt - at))).toBeLessThan(2);
  });

  it("discovery: the generation in force, the source that is stale and the file that is refused", async () => {
    const generations = await shown("inmesh-discovery", 201, "instance");
    expect(generations.get(played.instance)).toBe(played.truth.generation);
    const stale = await shown("inmesh-discovery", 102, "inmesh_service");
    expect(stale.get("moving")).toBe(1);
    expect(stale.get("exact")).toBe(0);
    expect((await shown("inmesh-discovery", 203, "inmesh_source")).get("file")).toBe(1);
  });

  it("runtime: requests for another host are counted one by one", async () => {
    const answers = await played.prometheus.ask(
      `inmesh_requests_rejected_total{inmesh_reason="misdirected"}`,
      played.truth.at,
    );
    expect(Math.abs(Number(answers[0]?.value?.[1]) - played.truth.badHosts)).toBeLessThanOrEqual(2);
    expect((await shown("inmesh-runtime", 301, "inmesh_reason")).has("misdirected")).toBe(true);
  });
});
