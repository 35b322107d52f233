/**
 * Recording rules and alerts, as data. Every alert has a section in docs/reference/alerts.md that says what to
 * do, and in rules.test.ts a history in which it fires and one in which it does not.
 */
import { BAD, COUNTED, grown, OUT } from "./parts.ts";

interface Recording {
  readonly record: string;
  readonly expr: string;
  readonly labels?: Readonly<Record<string, string>>;
}

interface Alert {
  readonly alert: string;
  readonly expr: string;
  /** How long it has to be so. */
  readonly for?: string;
  /** `page` wakes a person up: callers are hurt now. `ticket` waits until the morning. */
  readonly severity: "page" | "ticket";
  /** One sentence, with the labels of the alert as `{{ $labels.inmesh_service }}`. */
  readonly summary: string;
}

export interface Group {
  readonly name: string;
  readonly interval?: string;
  readonly rules: readonly (Recording | Alert)[];
}

/** The share of calls that may fail: 99.9 % over 30 days. Who promises something else changes this number. */
const OBJECTIVE_BAD = 0.001;
const RUNBOOK = "https://github.com/inmesh/inmesh/blob/main/docs/reference/alerts.md";

const BY = "sum by (inmesh_service)";
const calls = (range: string, ...more: string[]): string =>
  `${BY} (rate(inmesh_calls_total{${[OUT, ...more].join(", ")}}[${range}]))`;

/** 0 and not absent while nothing has failed, so that a ratio that is missing means a service without calls. */
const errorRatio = (range: string): Recording => ({
  record: `inmesh:call_errors:ratio_rate${range}`,
  expr: `(${calls(range, BAD)} or 0 * ${calls(range, COUNTED)})\n/ (${calls(range, COUNTED)} > 0)`,
});

const recordings: Group = {
  name: "inmesh-recording",
  interval: "30s",
  rules: [
    { record: "inmesh:calls:rate5m", expr: calls("5m", COUNTED) },
    ...["5m", "30m", "1h", "2h", "6h", "1d", "3d"].map(errorRatio),
    {
      record: "inmesh:call_duration:p99_5m",
      expr: `histogram_quantile(0.99, sum by (le, inmesh_service) (rate(inmesh_call_duration_seconds_bucket{${OUT}}[5m])))`,
    },
    {
      record: "inmesh:attempts_per_call:rate5m",
      expr: `${BY} (rate(inmesh_attempts_total[5m]))\n/ (${calls("5m")} > 0)`,
    },
    {
      record: "inmesh:cert_life_left:ratio",
      expr: `min by (job, instance) (
  (inmesh_cert_expiry_timestamp_seconds{inmesh_kind="leaf"} - time())
  / (inmesh_cert_expiry_timestamp_seconds{inmesh_kind="leaf"}
    - inmesh_cert_issued_timestamp_seconds{inmesh_kind="leaf"})
)`,
    },
  ],
};

/** Two windows: the long one says that it matters, the short one that it still goes on. */
const burns = (rate: number, long: string, short: string): string =>
  `inmesh:call_errors:ratio_rate${long} > ${rate} * ${OBJECTIVE_BAD}\nand inmesh:call_errors:ratio_rate${short} > ${rate} * ${OBJECTIVE_BAD}`;
/** One failed call of three is no reason to wake anybody. */
const WITH_TRAFFIC = "\nand on (inmesh_service) inmesh:calls:rate5m > 0.1";
const SERVICE = "{{ $labels.inmesh_service }}";

const alerts: Group = {
  name: "inmesh-alerts",
  rules: [
    {
      alert: "InmeshErrorBudgetBurnFast",
      expr: burns(14.4, "1h", "5m") + WITH_TRAFFIC,
      severity: "page",
      summary: `${SERVICE} has used 2 % of its error budget of 30 days within an hour.`,
    },
    {
      alert: "InmeshErrorBudgetBurnMedium",
      expr: burns(6, "6h", "30m") + WITH_TRAFFIC,
      severity: "page",
      summary: `${SERVICE} has used 5 % of its error budget of 30 days within six hours.`,
    },
    {
      alert: "InmeshErrorBudgetBurnDay",
      expr: burns(3, "1d", "2h"),
      severity: "ticket",
      summary: `${SERVICE} has used 10 % of its error budget of 30 days within a day.`,
    },
    {
      alert: "InmeshErrorBudgetBurnSlow",
      expr: burns(1, "3d", "6h"),
      severity: "ticket",
      summary: `${SERVICE} has used 10 % of its error budget of 30 days within three days.`,
    },
    {
      alert: "InmeshRetriesHigh",
      expr: "inmesh:attempts_per_call:rate5m > 1.15",
      for: "5m",
      severity: "ticket",
      summary: `Retries add {{ $value | printf "%.2f" }} attempts for each call of ${SERVICE}.`,
    },
    {
      alert: "InmeshRetryBudgetEmpty",
      expr: "min by (inmesh_service) (inmesh_retry_budget_balance) < 1",
      for: "5m",
      severity: "ticket",
      summary: `The retry budget of ${SERVICE} is empty: failures reach the application.`,
    },
    {
      alert: "InmeshMostEndpointsOpen",
      expr: `${BY} (inmesh_endpoints{inmesh_state=~"open|half-open|refusing"})\n/ (${BY} (inmesh_endpoints) > 0) > 0.5`,
      for: "2m",
      severity: "page",
      summary: `More than half of the endpoints of ${SERVICE} are kept away from by breakers.`,
    },
    {
      alert: "InmeshPanic",
      expr: "max by (inmesh_service) (inmesh_balancer_panic) == 1",
      for: "2m",
      severity: "page",
      summary: `So many endpoints of ${SERVICE} fail that all are used, the bad ones too.`,
    },
    {
      alert: "InmeshNoEndpoints",
      expr: "max by (inmesh_service) (inmesh_discovery_endpoints) == 0",
      for: "1m",
      severity: "page",
      summary: `No process knows an endpoint of ${SERVICE}.`,
    },
    {
      alert: "InmeshShedding",
      expr: "sum by (inmesh_service, inmesh_direction, inmesh_reason) (rate(inmesh_shed_total[5m])) > 0",
      for: "5m",
      severity: "ticket",
      summary: `${SERVICE} refuses {{ $labels.inmesh_direction }} calls: {{ $labels.inmesh_reason }}.`,
    },
    {
      alert: "InmeshDiscoveryStale",
      expr: "max by (inmesh_service, inmesh_source) (inmesh_discovery_stale) == 1",
      for: "10m",
      severity: "ticket",
      summary: `The endpoints of ${SERVICE} are old: {{ $labels.inmesh_source }} does not answer.`,
    },
    {
      alert: "InmeshConfigRefused",
      expr: "max by (inmesh_source) (inmesh_config_refused) == 1",
      for: "1m",
      severity: "ticket",
      summary:
        "What the configuration source {{ $labels.inmesh_source }} says is refused; the last good one is in force.",
    },
    {
      alert: "InmeshCertLow",
      expr: "inmesh:cert_life_left:ratio < 0.25",
      severity: "ticket",
      summary:
        "The certificate of {{ $labels.instance }} has less than a quarter of its life left.",
    },
    {
      alert: "InmeshCertCritical",
      expr: "inmesh:cert_life_left:ratio < 0.1",
      severity: "page",
      summary: "The certificate of {{ $labels.instance }} has less than a tenth of its life left.",
    },
    {
      alert: "InmeshIdentityProblem",
      expr: "max by (inmesh_identity) (inmesh_identity_problem) == 1",
      for: "5m",
      severity: "ticket",
      summary: "What the identity source {{ $labels.inmesh_identity }} said last is not used.",
    },
    {
      alert: "InmeshLoopDelay",
      expr: `inmesh_runtime_loop_delay_seconds{inmesh_quantile="0.99"} > 0.1`,
      for: "5m",
      severity: "ticket",
      summary: "The event loop of {{ $labels.instance }} is held up for more than 100 ms.",
    },
    {
      alert: "InmeshOverhead",
      expr: "histogram_quantile(0.99, sum by (le) (rate(inmesh_overhead_duration_seconds_bucket[10m]))) > 0.001",
      for: "10m",
      severity: "ticket",
      summary: "The mesh itself takes more than a millisecond for one call in a hundred.",
    },
    {
      alert: "InmeshSeriesOverflow",
      expr: `${grown("inmesh_metrics_overflow_total", "1h", "job, inmesh_limit")} > 0`,
      severity: "ticket",
      summary: "{{ $labels.job }} has more series than fit; records are counted under `other`.",
    },
    {
      alert: "InmeshHookErrors",
      expr: `${grown("inmesh_hook_errors_total", "10m", "job, inmesh_hook")} > 0`,
      severity: "ticket",
      summary: "A hook of the application ({{ $labels.inmesh_hook }}) fails in {{ $labels.job }}.",
    },
    {
      alert: "InmeshRuntimeBelowFloor",
      expr: "inmesh_runtime_supported == 0",
      for: "1h",
      severity: "ticket",
      summary: "{{ $labels.instance }} runs a version of Node with known weaknesses.",
    },
    {
      alert: "InmeshVersionSkew",
      expr: "count(count by (inmesh_version) (inmesh_build_info)) > 2",
      for: "1d",
      severity: "ticket",
      summary: "More than two versions of inmesh are running for a day.",
    },
  ],
};

export const RULES: readonly Group[] = [recordings, alerts];

export const ALERTS: readonly Alert[] = alerts.rules.filter((rule) => "alert" in rule);

export const runbookOf = (alert: string): string => `${RUNBOOK}#${alert.toLowerCase()}`;

const block = (text: string): string =>
  `|\n${text
    .split("\n")
    .map((line) => `          ${line}`)
    .join("\n")}`;

/** As a file of Prometheus. JSON is YAML, so texts are written as JSON. */
export function printRules(head: string, groups: readonly Group[]): string {
  const lines = [...head.split("\n").map((line) => `# ${line}`), "groups:"];
  for (const { name, interval, rules } of groups) {
    lines.push(`  - name: ${name}`);
    if (interval !== undefined) lines.push(`    interval: ${interval}`);
    lines.push("    rules:");
    for (const rule of rules) {
      const isAlert = "alert" in rule;
      lines.push(isAlert ? `      - alert: ${rule.alert}` : `      - record: ${rule.record}`);
      lines.push(`        expr: ${block(rule.expr)}`);
      if (isAlert) {
        if (rule.for !== undefined) lines.push(`        for: ${rule.for}`);
        lines.push(`        labels: { severity: ${rule.severity} }`);
        lines.push("        annotations:");
        lines.push(`          summary: ${JSON.stringify(rule.summary)}`);
        lines.push(`          runbook_url: ${runbookOf(rule.alert)}`);
      } else if (rule.labels !== undefined) {
        lines.push(`        labels: ${JSON.stringify(rule.labels)}`);
      }
    }
  }
  return `${lines.join("\n")}\n`;
}
