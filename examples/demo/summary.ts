/** The end of a run: rows for programs, a page for people. All computed from the run's samples. */
import type { Series } from "inmesh";
import type { Fleet } from "./fleet.ts";
import type { Side } from "./load.ts";
import { dueWithin, latencies, quantile, successRatio } from "./numbers.ts";
import { paint } from "./paint.ts";
import { SLOW, type Windows } from "./timeline.ts";

export interface Row {
  readonly metric: string;
  readonly value: number;
  readonly unit: string;
  readonly spread: number | null;
  readonly bar: number | null;
  readonly holds: boolean | null;
}

export interface Run {
  readonly seconds: number;
  /** The servers are wrapped: nothing may fail. */
  readonly graceful: boolean;
  readonly sides: readonly Side[];
  readonly fleet: Fleet;
  readonly windows: Windows;
  readonly series: readonly Series[];
  readonly budget: {
    readonly balance: number;
    readonly refused: number;
    readonly withdrawn: number;
  };
  /** Longest delay of the load's own schedule. */
  readonly latestMs: number;
  /** Share of one core that this process took. */
  readonly cpu: number;
  readonly requestMs: number;
  readonly warmUpSeconds: number;
}

const SUCCESS_BAR = 0.999;
const SLOW_OVER_HEALTHY = 2;

/** POSTs of a side that some server saw more than once. */
export function duplicates(fleet: Fleet, side: Side): number {
  return [...fleet.posts].filter(([id, n]) => n > 1 && id.startsWith(side.idPrefix)).length;
}

export function rows({ graceful, sides, fleet, windows }: Run): Row[] {
  const result: Row[] = [];
  const add = (
    metric: string,
    value: number,
    unit: string,
    bar?: number,
    atLeast = false,
  ): void => {
    const holds = bar === undefined ? null : atLeast ? value >= bar : value <= bar;
    result.push({
      metric: `demo.${metric}`,
      value: rounded(value),
      unit,
      spread: null,
      bar: bar === undefined ? null : rounded(bar),
      holds,
    });
  };
  for (const side of sides) {
    const { name, samples } = side;
    const ours = name === "inmesh";
    const gets = samples.filter(({ post }) => !post);
    const posts = samples.filter(({ post }) => post);
    add(`success_ratio.${name}`, successRatio(gets), "1", ours ? SUCCESS_BAR : undefined, true);
    add(`post_success_ratio.${name}`, successRatio(posts), "1");
    const failed = samples.filter(({ ok }) => !ok).length;
    add(`failed.${name}`, failed, "{request}", ours && graceful ? 0 : undefined);
    if (ours) add("duplicate_posts", duplicates(fleet, side), "{request}", 0);
    const all = latencies(samples);
    const healthy = latencies(dueWithin(samples, windows.healthy));
    const whileSlow = dueWithin(samples, windows.slow);
    const slow = latencies(whileSlow);
    const toSlow = whileSlow.filter(({ endpoint }) => endpoint === fleet.addresses[SLOW]).length;
    const healthyP99 = quantile(healthy, 0.99);
    add(`p50_ms.${name}`, quantile(all, 0.5), "ms");
    add(`p99_ms.${name}`, quantile(all, 0.99), "ms");
    add(`p999_ms.${name}`, quantile(all, 0.999), "ms");
    add(`p50_ms.${name}.healthy`, quantile(healthy, 0.5), "ms");
    add(`p99_ms.${name}.healthy`, healthyP99, "ms");
    add(`p50_ms.${name}.slow`, quantile(slow, 0.5), "ms");
    const bar = ours ? SLOW_OVER_HEALTHY * healthyP99 : undefined;
    add(`p99_ms.${name}.slow`, quantile(slow, 0.99), "ms", bar);
    // Tells a slow machine from a client that asks the slow server.
    add(`slow_share.${name}`, toSlow / whileSlow.length, "1");
  }
  return result;
}

const WIDTH = 80;
/** Of the cells of a row, the first aside: shares, latencies, and latencies under a longer head. */
const WIDTHS = [0, 9, 9, 9, 9, 9, 12, 10];

/** In lines of at most 80 columns, the first behind `lead` and the others as far to the right. */
function wrapped(text: string, lead = ""): string[] {
  const lines: string[] = [];
  let line = lead;
  for (const word of text.split(" ")) {
    const isFirst = line.trim() === "" || line === lead;
    const longer = isFirst ? `${line}${word}` : `${line} ${word}`;
    if (isFirst || longer.length <= WIDTH) line = longer;
    else {
      lines.push(line);
      line = `${"".padEnd(lead.length)}${word}`;
    }
  }
  return [...lines, line];
}

export function page(run: Run): string {
  const { sides, fleet, windows, seconds, budget, latestMs, cpu, requestMs, warmUpSeconds } = run;
  const head = ["", "GET ok", "POST ok", "p50", "p99", "p99.9", "healthy p99", "slow p99"];
  const line = (cells: readonly string[]): string =>
    cells.map((cell, i) => (i === 0 ? cell.padEnd(12) : cell.padStart(WIDTHS[i]!))).join("");
  const lines = ["", paint("bold", `${seconds} s, ${sides[0]!.samples.length} requests each`)];
  lines.push(paint("dim", line(head)));
  for (const { name, samples } of sides) {
    const all = latencies(samples);
    const healthy = latencies(dueWithin(samples, windows.healthy));
    const slow = latencies(dueWithin(samples, windows.slow));
    lines.push(
      line([
        name === "inmesh" ? "inmesh" : "round robin",
        percent(successRatio(samples.filter(({ post }) => !post))),
        percent(successRatio(samples.filter(({ post }) => post))),
        ...[0.5, 0.99, 0.999].map((q) => ms(quantile(all, q))),
        ms(quantile(healthy, 0.99)),
        ms(quantile(slow, 0.99)),
      ]),
    );
  }
  const inmesh = sides.find(({ name }) => name === "inmesh")!;
  const posts = inmesh.samples.filter(({ post }) => post);
  const lost = posts.filter(({ ok }) => !ok).length;
  lines.push(
    "",
    paint("bold", "What inmesh did"),
    ...wrapped(failures(run.series), "  failures met   "),
    ...wrapped(decisions(run.series), "  decisions      "),
    ...wrapped(ejections(run.series), "  ejections      "),
    `  retry budget   ${budget.withdrawn} retries paid, ${budget.refused} refused, ${budget.balance} left`,
    `  POSTs          ${lost} of ${posts.length} failed, ${duplicates(fleet, inmesh)} were sent twice`,
    "",
    ...wrapped(
      [
        run.graceful
          ? `inmesh knew ${fleet.ports.length} addresses and that meshServer stands there.`
          : `inmesh ran with its defaults: only the ${fleet.ports.length} addresses were set.`,
        `Round robin is one undici Pool per address with the same timeouts (${requestMs / 1000} s).`,
        "Both loads went to the same servers at the same time. Latency counts from when a request was",
        "due, of failed ones too. Slow: from 1 s after a server slows until it heals. inmesh never",
        "sends a POST again that may have been processed: what a dying server held, and what a broken",
        "one answered, is a failure for the caller.",
        `${warmUpSeconds} s of the same load came before, not counted. This process used`,
        `${Math.round(cpu * 100)} % of a core; its schedule was late by at most ${ms(latestMs)}; much more`,
        "than 10 ms means that the machine was busy with something else, and the latencies are about that.",
      ].join(" "),
    ).map((text) => paint("dim", text)),
  );
  const missed = rows(run).filter(({ holds }) => holds === false);
  for (const { metric, value, bar } of missed) {
    lines.push(paint("red", `missed: ${metric} is ${value}, the bar is ${bar}`));
  }
  return `${lines.join("\n")}\n`;
}

/** A counter's values summed by some of its labels, as `a b 12, a c 3`. */
function total(series: readonly Series[], name: string, labels: readonly string[]): string {
  const sums = new Map<string, number>();
  for (const one of series) {
    if (one.name !== name || one.kind !== "counter" || one.value === 0) continue;
    const key = labels
      .map((label) => one.labels[label])
      .filter((value) => value !== undefined && value !== "none")
      .join(" ");
    sums.set(key, (sums.get(key) ?? 0) + one.value);
  }
  if (sums.size === 0) return "none";
  return [...sums]
    .sort(([, a], [, b]) => b - a)
    .map(([key, n]) => `${key} ${n}`)
    .join(", ");
}

/** Why attempts failed: what there was to retry. */
function failures(series: readonly Series[]): string {
  const failed = series.filter(({ labels }) => labels["outcome"] !== "success");
  return total(failed, "inmesh.attempts", ["reason", "status"]);
}

/** After a failure: sent once more (`retry`, or `resend` where nothing was sent), or why not. */
function decisions(series: readonly Series[]): string {
  return total(series, "inmesh.retry.decisions", ["decision", "kind"]);
}

/** How often a breaker opened, by what tripped it. */
function ejections(series: readonly Series[]): string {
  const opened = series.filter(({ labels }) => labels["state"] === "open");
  return total(opened, "inmesh.breaker.transitions", ["trigger"]);
}

export function percent(ratio: number): string {
  if (Number.isNaN(ratio)) return "–";
  // 99.996 % must not be shown as 100.
  const text = (Math.floor(ratio * 10_000) / 100).toFixed(2);
  return ratio === 1 ? "100 %" : `${text} %`;
}

export function ms(value: number): string {
  if (Number.isNaN(value)) return "–";
  return value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;
}

function rounded(value: number): number {
  return Number(value.toPrecision(6));
}
