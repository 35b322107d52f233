/** Every alert has a history in which it fires and one in which it does not, played by promtool. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { DASHBOARDS } from "./index.ts";
import { ALERTS, runbookOf } from "./rules.ts";

const root: string = join(import.meta.dirname, "..");
const RULES = join(root, "packages/inmesh/prometheus/rules.yml");
const LINKERD = join(root, "packages/inmesh/prometheus/linkerd-names.yml");

function promtool(...args: readonly string[]): { status: number | null; said: string } {
  const { status, stdout, stderr, error } = spawnSync("promtool", args, { encoding: "utf8" });
  return { status, said: error === undefined ? stdout + stderr : String(error) };
}
const isThere: boolean = spawnSync("promtool", ["--version"]).error === undefined;

it("promtool is on the PATH", ({ skip }) => {
  if (isThere) return;
  const why = "promtool: not on the PATH (on Debian: apt-get install prometheus)";
  if ((process.env["CI"] ?? "") === "") skip(why);
  throw new Error(why);
});

/** Values of series by their text, in the notation of promtool: `0+60x10` begins with 0 and grows by 60. */
type History = Readonly<Record<string, string>>;

interface Case {
  /** How far apart the values are. */
  readonly interval?: string;
  readonly series: History;
  readonly at: string;
  /** Labels of the alerts that fire, besides severity; none where it must not. */
  readonly labels?: readonly Readonly<Record<string, string>>[];
  /** What the summary says, where a value stands in it. */
  readonly summary?: string;
}

const OK = `inmesh_calls_total{inmesh_direction="outbound", inmesh_service="a", inmesh_outcome="success"}`;
const FAILED = `inmesh_calls_total{inmesh_direction="outbound", inmesh_service="a", inmesh_outcome="failure"}`;
const ABANDONED = `inmesh_calls_total{inmesh_direction="outbound", inmesh_service="a", inmesh_outcome="abandoned"}`;
const FIRST = `inmesh_attempts_total{inmesh_service="a", inmesh_kind="first"}`;
const RETRY = `inmesh_attempts_total{inmesh_service="a", inmesh_kind="retry"}`;
const EXPIRY = `inmesh_cert_expiry_timestamp_seconds{inmesh_kind="leaf", job="j", instance="i"}`;
const ISSUED = `inmesh_cert_issued_timestamp_seconds{inmesh_kind="leaf", job="j", instance="i"}`;
const OF_A = [{ inmesh_service: "a" }];

/** 1,000 calls a minute of which `failed` fail, for so many minutes. */
const traffic = (minutes: number, failed: number): History => ({
  [OK]: `0+${1000 - failed}x${minutes}`,
  [FAILED]: `0+${failed}x${minutes}`,
});
/** The same with a value each half hour. */
const long = (hours: number, failed: number): Pick<Case, "interval" | "series"> => ({
  interval: "30m",
  series: {
    [OK]: `0+${30 * (1000 - failed)}x${hours * 2}`,
    [FAILED]: `0+${30 * failed}x${hours * 2}`,
  },
});
const overhead = (fast: number, all: number): History => ({
  'inmesh_overhead_duration_seconds_bucket{le="0.0005"}': `0+${fast}x40`,
  'inmesh_overhead_duration_seconds_bucket{le="0.001"}': `0+${fast}x40`,
  'inmesh_overhead_duration_seconds_bucket{le="0.005"}': `0+${all}x40`,
  'inmesh_overhead_duration_seconds_bucket{le="+Inf"}': `0+${all}x40`,
});
const OVERFLOW = `inmesh_metrics_overflow_total{job="j", inmesh_limit="metric"}`;
const HOOK = `inmesh_hook_errors_total{job="j", inmesh_hook="callEnded"}`;

const HISTORIES: Readonly<Record<string, { fires: Case; silent: Case }>> = {
  InmeshErrorBudgetBurnFast: {
    fires: { series: traffic(90, 20), at: "80m", labels: OF_A },
    // 1.4 % fails, which is 14 times and not 14.4 times what may; and callers give up, which is their wish.
    silent: { series: { ...traffic(90, 14), [ABANDONED]: "0+500x90" }, at: "80m" },
  },
  InmeshErrorBudgetBurnMedium: {
    fires: { series: traffic(430, 7), at: "7h", labels: OF_A },
    // It is over: the last hour was good.
    silent: { series: { [OK]: "0+980x430", [FAILED]: "0+20x360 7200x70" }, at: "7h" },
  },
  InmeshErrorBudgetBurnDay: {
    fires: { ...long(26, 4), at: "25h", labels: OF_A },
    silent: { ...long(26, 2), at: "25h" },
  },
  InmeshErrorBudgetBurnSlow: {
    fires: { ...long(74, 2), at: "73h", labels: OF_A },
    // 0.08 % fails.
    silent: { interval: "30m", series: { [OK]: "0+29976x148", [FAILED]: "0+24x148" }, at: "73h" },
  },
  InmeshRetriesHigh: {
    fires: {
      series: { ...traffic(20, 0), [FIRST]: "0+1000x20", [RETRY]: "0+250x20" },
      at: "15m",
      labels: OF_A,
      summary: "Retries add 1.25 attempts for each call of a.",
    },
    silent: {
      series: { ...traffic(20, 0), [FIRST]: "0+1000x20", [RETRY]: "0+100x20" },
      at: "15m",
    },
  },
  InmeshRetryBudgetEmpty: {
    fires: {
      series: {
        'inmesh_retry_budget_balance{inmesh_service="a", instance="1"}': "0.4x20",
        'inmesh_retry_budget_balance{inmesh_service="a", instance="2"}': "9x20",
      },
      at: "10m",
      labels: OF_A,
    },
    // Empty for three minutes, and not for five.
    silent: {
      series: { 'inmesh_retry_budget_balance{inmesh_service="a"}': "9x5 0x2 9x20" },
      at: "10m",
    },
  },
  InmeshMostEndpointsOpen: {
    fires: {
      series: {
        'inmesh_endpoints{inmesh_service="a", inmesh_state="available"}': "1x10",
        'inmesh_endpoints{inmesh_service="a", inmesh_state="open"}': "2x10",
        'inmesh_endpoints{inmesh_service="a", inmesh_state="half-open"}': "0x10",
      },
      at: "5m",
      labels: OF_A,
    },
    silent: {
      series: {
        'inmesh_endpoints{inmesh_service="a", inmesh_state="available"}': "2x10",
        'inmesh_endpoints{inmesh_service="a", inmesh_state="open"}': "1x10",
        'inmesh_endpoints{inmesh_service="a", inmesh_state="half-open"}': "1x10",
      },
      at: "5m",
    },
  },
  InmeshPanic: {
    fires: {
      series: { 'inmesh_balancer_panic{inmesh_service="a"}': "1x10" },
      at: "5m",
      labels: OF_A,
    },
    silent: { series: { 'inmesh_balancer_panic{inmesh_service="a"}': "0 1 0x10" }, at: "5m" },
  },
  InmeshNoEndpoints: {
    fires: {
      series: {
        'inmesh_discovery_endpoints{inmesh_service="a", instance="1"}': "0x10",
        'inmesh_discovery_endpoints{inmesh_service="a", instance="2"}': "0x10",
      },
      at: "5m",
      labels: OF_A,
    },
    silent: {
      series: {
        'inmesh_discovery_endpoints{inmesh_service="a", instance="1"}': "0x10",
        'inmesh_discovery_endpoints{inmesh_service="a", instance="2"}': "1x10",
      },
      at: "5m",
    },
  },
  InmeshShedding: {
    fires: {
      series: {
        'inmesh_shed_total{inmesh_service="a", inmesh_direction="inbound", inmesh_reason="limit"}':
          "0+5x20",
      },
      at: "15m",
      labels: [{ inmesh_service: "a", inmesh_direction: "inbound", inmesh_reason: "limit" }],
    },
    // Once, some time ago.
    silent: {
      series: {
        'inmesh_shed_total{inmesh_service="a", inmesh_direction="inbound", inmesh_reason="limit"}':
          "0 5 5x20",
      },
      at: "15m",
    },
  },
  InmeshDiscoveryStale: {
    fires: {
      series: { 'inmesh_discovery_stale{inmesh_service="a", inmesh_source="dns"}': "1x20" },
      at: "15m",
      labels: [{ inmesh_service: "a", inmesh_source: "dns" }],
    },
    silent: {
      series: { 'inmesh_discovery_stale{inmesh_service="a", inmesh_source="dns"}': "1x5 0x15" },
      at: "15m",
    },
  },
  InmeshConfigRefused: {
    fires: {
      series: { 'inmesh_config_refused{inmesh_source="file"}': "1x10" },
      at: "5m",
      labels: [{ inmesh_source: "file" }],
    },
    silent: { series: { 'inmesh_config_refused{inmesh_source="file"}': "0x10" }, at: "5m" },
  },
  // promtool's clock begins at 0: issued then, good for 100 minutes.
  InmeshCertLow: {
    fires: {
      series: { [EXPIRY]: "6000x100", [ISSUED]: "0x100" },
      at: "80m",
      labels: [{ job: "j", instance: "i" }],
    },
    silent: { series: { [EXPIRY]: "6000x100", [ISSUED]: "0x100" }, at: "70m" },
  },
  InmeshCertCritical: {
    fires: {
      series: { [EXPIRY]: "6000x100", [ISSUED]: "0x100" },
      at: "95m",
      labels: [{ job: "j", instance: "i" }],
    },
    silent: { series: { [EXPIRY]: "6000x100", [ISSUED]: "0x100" }, at: "89m" },
  },
  InmeshIdentityProblem: {
    fires: {
      series: { 'inmesh_identity_problem{inmesh_identity="files"}': "1x10" },
      at: "8m",
      labels: [{ inmesh_identity: "files" }],
    },
    silent: { series: { 'inmesh_identity_problem{inmesh_identity="files"}': "1x2 0x8" }, at: "8m" },
  },
  InmeshLoopDelay: {
    fires: {
      series: {
        'inmesh_runtime_loop_delay_seconds{inmesh_quantile="0.99", instance="i"}': "0.2x10",
      },
      at: "8m",
      labels: [{ inmesh_quantile: "0.99", instance: "i" }],
    },
    silent: {
      series: {
        'inmesh_runtime_loop_delay_seconds{inmesh_quantile="0.99", instance="i"}': "0.02x10",
      },
      at: "8m",
    },
  },
  InmeshOverhead: {
    fires: { series: overhead(90, 100), at: "30m", labels: [{}] },
    silent: { series: overhead(100, 100), at: "30m" },
  },
  InmeshSeriesOverflow: {
    // The series begins with 3: there was no 0 before it.
    fires: {
      series: { [OVERFLOW]: "_x10 3x20" },
      at: "20m",
      labels: [{ job: "j", inmesh_limit: "metric" }],
    },
    silent: { series: { [OVERFLOW]: "3x200" }, at: "150m" },
  },
  InmeshHookErrors: {
    fires: {
      series: { [HOOK]: "_x10 1x20" },
      at: "15m",
      labels: [{ job: "j", inmesh_hook: "callEnded" }],
    },
    silent: { series: { [HOOK]: "1x30" }, at: "25m" },
  },
  InmeshRuntimeBelowFloor: {
    fires: {
      series: { 'inmesh_runtime_supported{instance="i"}': "0x90" },
      at: "80m",
      labels: [{ instance: "i" }],
    },
    silent: { series: { 'inmesh_runtime_supported{instance="i"}': "1x90" }, at: "80m" },
  },
  InmeshVersionSkew: {
    fires: {
      interval: "30m",
      series: Object.fromEntries(
        ["1", "2", "3"].map((one) => [`inmesh_build_info{inmesh_version="${one}"}`, "1x60"]),
      ),
      at: "26h",
      labels: [{}],
    },
    silent: {
      interval: "30m",
      series: Object.fromEntries(
        ["1", "2"].map((one) => [`inmesh_build_info{inmesh_version="${one}"}`, "1x60"]),
      ),
      at: "26h",
    },
  },
};

function play(name: string, rules: string, tests: readonly object[], every = "1m"): void {
  const folder = mkdtempSync(join(tmpdir(), "inmesh-rules-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "test.yml");
  // promtool takes the groups in any order, and an alert before what it is made of would see the value before.
  const order = rules === RULES ? ["inmesh-recording", "inmesh-alerts"] : undefined;
  const all = { rule_files: [rules], evaluation_interval: every, group_eval_order: order, tests };
  writeFileSync(file, JSON.stringify(all));
  const { status, said } = promtool("test", "rules", file);
  expect(status, `${name}: ${said}`).toBe(0);
}

const seriesOf = (history: History): object[] =>
  Object.entries(history).map(([series, values]) => ({ series, values }));

/** Where labels stand in the summary, as promtool expects it: written out. */
function summaryOf(alert: string, labels: Readonly<Record<string, string>>): string {
  const { summary } = ALERTS.find((one) => one.alert === alert)!;
  return summary.replaceAll(
    /\{\{ \$labels\.(\w+) \}\}/g,
    (_, label: string) => labels[label] ?? "",
  );
}

function testOf(
  alert: string,
  { interval = "1m", series, at, labels = [], summary }: Case,
): object {
  const { severity } = ALERTS.find((one) => one.alert === alert)!;
  const expected = labels.map((own) => ({
    exp_labels: { severity, ...own },
    exp_annotations: {
      summary: summary ?? summaryOf(alert, own),
      runbook_url: runbookOf(alert),
    },
  }));
  const check = { eval_time: at, alertname: alert, exp_alerts: expected };
  return { interval, input_series: seriesOf(series), alert_rule_test: [check] };
}

describe.skipIf(!isThere)("rules", () => {
  it("both files are in order for promtool", () => {
    expect(promtool("check", "rules", RULES, LINKERD)).toMatchObject({ status: 0 });
  });

  it("every alert has two histories", () => {
    expect(Object.keys(HISTORIES).toSorted()).toEqual(ALERTS.map(({ alert }) => alert).toSorted());
  });

  it.for(ALERTS.map(({ alert }) => alert))("%s fires when it should, and only then", (alert) => {
    const { fires, silent } = HISTORIES[alert]!;
    expect(fires.labels?.length).toBeGreaterThan(0);
    expect(silent.labels).toBeUndefined();
    play(alert, RULES, [testOf(alert, fires), testOf(alert, silent)], fires.interval);
  });

  it("recorded numbers are those computed by hand", () => {
    // Rounded, because promtool compares to the last bit.
    const record = (name: string, labels: string, value: number): object => ({
      expr: `round(1000 * ${name})`,
      eval_time: "10m",
      exp_samples: [{ labels, value: Math.round(1000 * value) }],
    });
    const bucket = (le: string): string =>
      `inmesh_call_duration_seconds_bucket{inmesh_direction="outbound", inmesh_service="a", le="${le}"}`;
    play("recordings", RULES, [
      {
        interval: "1m",
        input_series: seriesOf({
          // 600 calls a minute that count: 597 succeed, 3 fail. 60 more are abandoned.
          [OK]: "0+597x20",
          [FAILED]: "0+3x20",
          [ABANDONED]: "0+60x20",
          [FIRST]: "0+660x20",
          [RETRY]: "0+66x20",
          // 90 of 100 below 100 ms, the others evenly between 100 and 200 ms: 99 of 100 are below 190 ms.
          [bucket("0.1")]: "0+90x20",
          [bucket("0.2")]: "0+100x20",
          [bucket("+Inf")]: "0+100x20",
          [EXPIRY]: "3000x20",
          [ISSUED]: "0x20",
        }),
        promql_expr_test: [
          record("inmesh:calls:rate5m", '{inmesh_service="a"}', 10),
          ...["5m", "30m", "1h", "2h", "6h", "1d", "3d"].map((range) =>
            record(`inmesh:call_errors:ratio_rate${range}`, '{inmesh_service="a"}', 0.005),
          ),
          record("inmesh:call_duration:p99_5m", '{inmesh_service="a"}', 0.19),
          record("inmesh:attempts_per_call:rate5m", '{inmesh_service="a"}', 1.1),
          record("inmesh:cert_life_left:ratio", '{job="j", instance="i"}', 0.8),
        ],
      },
    ]);
  });

  it("a service of which nothing has failed has an error ratio of 0, and one without calls has none", () => {
    play("zero", RULES, [
      {
        interval: "1m",
        input_series: seriesOf({
          [OK]: "0+60x20",
          [OK.replace('"a"', '"idle"')]: "7x20",
        }),
        promql_expr_test: [
          {
            expr: "inmesh:call_errors:ratio_rate5m",
            eval_time: "10m",
            exp_samples: [
              { labels: 'inmesh:call_errors:ratio_rate5m{inmesh_service="a"}', value: 0 },
            ],
          },
        ],
      },
    ]);
  });

  it("the names of Linkerd have the numbers of ours", () => {
    const attempts = (outcome: string, kind: string): string =>
      `inmesh_attempts_total{job="j", inmesh_service="orders", inmesh_route="all", inmesh_protocol="http1", inmesh_kind="${kind}", inmesh_outcome="${outcome}", inmesh_status="x", inmesh_reason="none"}`;
    const served = (outcome: string): string =>
      `inmesh_calls_total{job="j", inmesh_service="cart", inmesh_route="default", inmesh_protocol="http1", inmesh_direction="inbound", inmesh_outcome="${outcome}", inmesh_status="x", inmesh_reason="none"}`;
    const histogram = (what: string, end: string, kept = ""): string =>
      `inmesh_${what}_duration_seconds_${end}{job="j", inmesh_service="orders", inmesh_protocol="http1", inmesh_outcome="success", inmesh_direction="${what === "call" ? "inbound" : ""}"${kept}}`;
    const sample = (expr: string, expected: Readonly<Record<string, number>>): object => ({
      expr,
      eval_time: "10m",
      exp_samples: Object.entries(expected).map(([labels, value]) => ({ labels, value })),
    });
    const OUTBOUND = 'job="j", direction="outbound", dst_service="orders"';
    const INBOUND = 'job="j", direction="inbound"';
    play("linkerd", LINKERD, [
      {
        interval: "1m",
        input_series: seriesOf({
          [attempts("success", "first")]: "0+90x20",
          [attempts("success", "retry")]: "0+5x20",
          [attempts("failure", "first")]: "0+6x20",
          [attempts("timeout", "first")]: "0+2x20",
          [attempts("abandoned", "first")]: "0+1x20",
          [served("success")]: "0+50x20",
          [served("failure")]: "0+1x20",
          // What this process calls is no request that it serves.
          [OK]: "0+1000x20",
          [histogram("attempt", "bucket", ', le="0.005"')]: "0+80x20",
          // As OpenMetrics writes whole numbers, and as the text format does.
          [histogram("attempt", "bucket", ', le="1.0"')]: "0+95x20",
          [histogram("attempt", "bucket", ', le="5"')]: "0+98x20",
          [histogram("attempt", "bucket", ', le="+Inf"')]: "0+100x20",
          [histogram("attempt", "count")]: "0+100x20",
          [histogram("attempt", "sum")]: "0+2.5x20",
          [histogram("call", "bucket", ', le="0.0005"')]: "0+7x20",
          'inmesh_connections{job="j", inmesh_direction="outbound", inmesh_protocol="http1"}':
            "3x20",
          'inmesh_connections{job="j", inmesh_direction="outbound", inmesh_protocol="grpc"}':
            "1x20",
          'inmesh_connections{job="j", inmesh_direction="inbound", inmesh_protocol="http1"}':
            "9x20",
        }),
        promql_expr_test: [
          sample("request_total", {
            [`request_total{${OUTBOUND}}`]: 1040,
            [`request_total{${INBOUND}}`]: 510,
          }),
          sample('response_total{direction="outbound"}', {
            [`response_total{${OUTBOUND}, classification="success"}`]: 950,
            [`response_total{${OUTBOUND}, classification="failure"}`]: 80,
          }),
          sample('response_total{direction="inbound"}', {
            [`response_total{${INBOUND}, classification="success"}`]: 500,
            [`response_total{${INBOUND}, classification="failure"}`]: 10,
          }),
          sample("response_latency_ms_bucket", {
            [`response_latency_ms_bucket{${OUTBOUND}, le="5"}`]: 800,
            [`response_latency_ms_bucket{${OUTBOUND}, le="1000"}`]: 950,
            [`response_latency_ms_bucket{${OUTBOUND}, le="5000"}`]: 980,
            [`response_latency_ms_bucket{${OUTBOUND}, le="+Inf"}`]: 1000,
            [`response_latency_ms_bucket{${INBOUND}, le="0.5"}`]: 70,
          }),
          sample("response_latency_ms_count", { [`response_latency_ms_count{${OUTBOUND}}`]: 1000 }),
          sample("response_latency_ms_sum", { [`response_latency_ms_sum{${OUTBOUND}}`]: 25_000 }),
          sample("tcp_open_connections", {
            [`tcp_open_connections{job="j", direction="outbound", peer="dst"}`]: 4,
            [`tcp_open_connections{job="j", direction="inbound", peer="src"}`]: 9,
          }),
          // A query as Linkerd's own dashboards and alerts ask it.
          sample(
            'sum(increase(response_total{classification="success", direction="inbound"}[5m])) / sum(increase(response_total{direction="inbound"}[5m]))',
            { "{}": 50 / 51 },
          ),
        ],
      },
    ]);
  });

  it("the page of alerts has a section for each of them, and for nothing else", () => {
    const page = readFileSync(join(root, "docs/reference/alerts.md"), "utf8");
    const sections = [...page.matchAll(/^## (Inmesh\w+)$/gm)].map(([, name]) => name);
    expect(sections).toEqual(ALERTS.map(({ alert }) => alert));
    // What it sends people to is there: panels, events of the log, and other sections.
    const titles = DASHBOARDS.flatMap(({ panels = [] }) => panels.map(({ title }) => title));
    const named = [...page.matchAll(/panels? (\*[^*]+\*(?:(?:,| and) \*[^*]+\*)*)/g)].flatMap(
      ([, list = ""]) => [...list.matchAll(/\*([^*]+)\*/g)].map(([, title]) => title),
    );
    expect(named.length).toBeGreaterThan(15);
    for (const title of named) expect(titles).toContain(title);
    const log = readFileSync(join(root, "docs/reference/log.md"), "utf8");
    for (const [, list = ""] of page.matchAll(/events? (`[^`]+`(?: and `[^`]+`)*)/g)) {
      for (const [event] of list.matchAll(/`[^`]+`/g)) expect(log).toContain(event);
    }
    const anchors = ALERTS.map(({ alert }) => `#${alert.toLowerCase()}`);
    for (const [, anchor] of page.matchAll(/\]\((#[^)]+)\)/g)) expect(anchors).toContain(anchor);
  });
});
