/**
 * What a person watches: on a terminal one table drawn over itself, elsewhere a line now and then.
 * Rates, success and latencies are of the last two seconds; cost and breaker are inmesh's own.
 */
import type { Mesh } from "inmesh";
import type { Fleet } from "./fleet.ts";
import type { Sample, Side } from "./load.ts";
import { endedSince, latencies, quantile, successRatio } from "./numbers.ts";
import { paint } from "./paint.ts";
import { ms, percent } from "./summary.ts";

const RECENT_MS = 2000;
const BAR = 24;

export interface View {
  readonly seconds: number;
  readonly mesh: Mesh;
  readonly fleet: Fleet;
  readonly inmesh: Side;
  readonly roundRobin: Side;
}

/** At most 80 columns wide. */
export function table(view: View, now: number, words: string): string[] {
  const { seconds, mesh, fleet, inmesh, roundRobin } = view;
  const done = Math.min(1, now / (seconds * 1000));
  const filled = Math.round(done * BAR);
  const bar = paint("cyan", "━".repeat(filled)) + paint("dim", "─".repeat(BAR - filled));
  const clock = `${(now / 1000).toFixed(1).padStart(5)} of ${seconds} s`;
  const spanMs = Math.max(1, Math.min(RECENT_MS, now));
  const ours = endedSince(inmesh.samples, now - spanMs);
  const theirs = endedSince(roundRobin.samples, now - spanMs);
  const endpoints = mesh.snapshot().services[0]?.endpoints ?? [];
  const lines = [
    `${bar} ${clock}`,
    paint("yellow", words),
    "",
    `${paint("bold", "server  inmesh".padEnd(51))}${paint("dim", "│")} ${paint("bold", "round robin")}`,
    paint("dim", `${"".padEnd(8)}${HEAD}${"cost".padStart(7)}  ${"breaker".padEnd(9)}│${HEAD}`),
  ];
  fleet.addresses.forEach((address, i) => {
    const endpoint = endpoints.find((one) => one.address === address);
    const cost = endpoint === undefined ? "–" : short(endpoint.cost);
    const state = endpoint?.breaker.state ?? "–";
    const breaker = state.padEnd(9);
    const name = `${i + 1}`.padEnd(8);
    lines.push(
      (fleet.alive(i) ? name : paint("red", `${i + 1} dead`.padEnd(8))) +
        cells(ours, address, spanMs) +
        `${cost.padStart(7)}  ` +
        (state === "open" || state === "half-open" ? paint("red", breaker) : breaker) +
        paint("dim", "│") +
        cells(theirs, address, spanMs),
    );
  });
  lines.push(
    "all".padEnd(8) +
      `${cells(ours, undefined, spanMs)}${"".padEnd(18)}${paint("dim", "│")}` +
      cells(theirs, undefined, spanMs),
    "",
    totals("inmesh", inmesh.samples),
    totals("round robin", roundRobin.samples),
  );
  return lines;
}

const HEAD = `${"req/s".padStart(6)}${"ok".padStart(8)}${"p50".padStart(5)}${"p99".padStart(6)}`;

function cells(samples: readonly Sample[], address: string | undefined, spanMs: number): string {
  const own =
    address === undefined ? samples : samples.filter(({ endpoint }) => endpoint === address);
  const all = latencies(own);
  const ratio = successRatio(own);
  const rate = String(Math.round((own.length * 1000) / spanMs)).padStart(6);
  const ok = percent(ratio).replace(" ", "").padStart(8);
  return (
    rate +
    (ratio < 1 ? paint("red", ok) : ok) +
    short(quantile(all, 0.5)).padStart(5) +
    short(quantile(all, 0.99)).padStart(6)
  );
}

function totals(name: string, samples: readonly Sample[]): string {
  const failed = samples.filter(({ ok }) => !ok).length;
  const ratio = percent(successRatio(samples)).padStart(8);
  const text = `${String(failed).padStart(5)} of ${samples.length} failed`;
  return `${name.padEnd(12)}${ratio} succeeded, ${failed > 0 ? paint("red", text) : text}`;
}

function short(value: number): string {
  if (Number.isNaN(value)) return "–";
  if (value >= 100_000) return `${Math.round(value / 1000)}k`;
  return value < 10 ? value.toFixed(1) : String(Math.round(value));
}

/** One line, for logs and pipes. */
export function plainLine({ inmesh, roundRobin }: View, now: number): string {
  const text = ({ samples }: Side): string => {
    const recent = endedSince(samples, now - RECENT_MS);
    const p99 = ms(quantile(latencies(recent), 0.99));
    return `${percent(successRatio(recent)).padStart(7)} ok, p99 ${p99.padStart(7)}`;
  };
  return `${stamp(now)}   inmesh ${text(inmesh)} │ round robin ${text(roundRobin)}`;
}

export function stamp(now: number): string {
  return `${(now / 1000).toFixed(1).padStart(5)} s`;
}
