/**
 * `node --conditions=inmesh-source scripts/draw-picture.ts [--seconds N]`: runs the demo with a real Prometheus,
 * asks it what happened, and draws docs/demo.svg, the picture of the README. Same numbers, same picture.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import type { Value } from "../dashboards/prometheus.ts";

const root: string = join(import.meta.dirname, "..");
const OUTPUT = "docs/demo.svg";
/** Prometheus reads once a second; a rate needs two readings, and one may be late. */
const WINDOW = "3s";

const { values } = parseArgs({ options: { seconds: { type: "string", default: "40" } } });
const seconds = Number(values.seconds);

interface Event {
  readonly at: number;
  readonly words: string;
}

interface Line {
  readonly side: string;
  readonly points: readonly (readonly [second: number, value: number])[];
}

async function askRange(address: string, query: string, from: number): Promise<Line[]> {
  const range = { query, start: String(from), end: String(from + seconds), step: "1" };
  const reply = await fetch(`${address}/api/v1/query_range?${new URLSearchParams(range)}`);
  const { data } = (await reply.json()) as {
    data: { result: { metric: Record<string, string>; values: Value[] }[] };
  };
  return data.result.map(({ metric, values: all }) => ({
    side: metric["side"] ?? "",
    points: all
      .map(([at, value]) => [at - from, Number(value)] as const)
      .filter(([, value]) => Number.isFinite(value)),
  }));
}

const WIDTH = 860;
const HEIGHT = 456;
const LEFT = 62;
const RIGHT = WIDTH - 16;
const TOP = { success: 84, p99: 268 };
const BOX_HEIGHT = 130;

const NAMES: Readonly<Record<string, string>> = { inmesh: "inmesh", round_robin: "round robin" };
const CLASSES: Readonly<Record<string, string>> = { inmesh: "ours", round_robin: "other" };

const round = (value: number): string => String(Math.round(value * 10) / 10);
const xOf = (second: number): number => LEFT + (second / seconds) * (RIGHT - LEFT);
const text = (x: number, y: number, words: string, more = ""): string =>
  `<text x="${round(x)}" y="${round(y)}"${more}>${words}</text>`;

interface Axis {
  readonly title: string;
  readonly top: number;
  /** From 0 at the bottom to 1 at the top. */
  readonly scale: (value: number) => number;
  readonly ticks: readonly (readonly [value: number, words: string])[];
}

function box({ title, top, scale, ticks }: Axis, lines: readonly Line[]): string {
  const yOf = (value: number): number =>
    top + BOX_HEIGHT * (1 - Math.min(1, Math.max(0, scale(value))));
  const parts = [text(LEFT, top - 8, title, ` class="title"`)];
  for (const [value, words] of ticks) {
    const y = yOf(value);
    parts.push(`<path class="grid" d="M${LEFT} ${round(y)}H${RIGHT}"/>`);
    parts.push(text(LEFT - 7, y + 4, words, ` class="end"`));
  }
  // Ours last, and so above the other.
  for (const { side, points } of lines.toSorted((a, b) => (a.side < b.side ? 1 : -1))) {
    const path = points.map(([second, value]) => `${round(xOf(second))} ${round(yOf(value))}`);
    parts.push(`<path class="line ${CLASSES[side] ?? ""}" d="M${path.join("L")}"/>`);
  }
  return parts.join("\n");
}

/** What a step of the demo is called in the picture, and which step ends it. */
const PHASES: readonly (readonly [begin: RegExp, end: RegExp, words: string])[] = [
  [/20 times slower/, /fast again/, "one is slow"],
  [/answers 30 %/, /healthy again/, "one answers 30 % with 500"],
  [/is killed/, /comes back/, "one is dead"],
  [/server 1 of \d/, /^$/, "rolling restart"],
];

function picture(
  success: readonly Line[],
  p99: readonly Line[],
  ejections: readonly number[],
  events: readonly Event[],
): string {
  const bottom = TOP.p99 + BOX_HEIGHT;
  const bands = PHASES.map(([begin, end, words]) => {
    const from = events.find((one) => begin.test(one.words))?.at ?? 0;
    const to = events.find((one) => one.at > from && end.test(one.words))?.at ?? seconds;
    const x = xOf(from);
    return (
      `<rect class="band" x="${round(x)}" y="${TOP.success - 26}" width="${round(xOf(to) - x)}" height="${bottom - TOP.success + 26}"/>` +
      text((x + xOf(to)) / 2, TOP.success - 32, words, ` class="middle"`)
    );
  });
  const lowest = Math.min(1, ...success.flatMap(({ points }) => points.map(([, value]) => value)));
  const floor = Math.max(0, Math.floor(lowest * 10) / 10 - (lowest < 0.05 ? 0 : 0.05));
  const successAxis: Axis = {
    title: "Requests that succeed",
    top: TOP.success,
    scale: (value) => (value - floor) / (1 - floor),
    ticks: [0, 0.25, 0.5, 0.75, 0.8, 0.9, 1]
      .filter((value) => value >= floor && (floor < 0.7 ? (value * 4) % 1 === 0 : value !== 0.75))
      .map((value) => [value, `${Math.round(value * 100)} %`] as const),
  };
  const LOW = 0.005;
  const HIGH = 1;
  const p99Axis: Axis = {
    title: "99 of 100 requests are faster than",
    top: TOP.p99,
    scale: (value) => Math.log(value / LOW) / Math.log(HIGH / LOW),
    ticks: [
      [0.01, "10 ms"],
      [0.1, "100 ms"],
      [1, "1 s"],
    ],
  };
  const marks = ejections.map((second) => {
    const x = xOf(second);
    return `<path class="mark" d="M${round(x - 4)} ${bottom + 10}h8l-4 -8z"/>`;
  });
  const ticks = Array.from({ length: Math.floor(seconds / 10) + 1 }, (_, i) => i * 10).map(
    (second) => text(xOf(second), bottom + 26, `${second} s`, ` class="middle"`),
  );
  const title =
    "Five servers misbehave in turn: the same load through inmesh and through round robin";
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title}">
<title>${title}</title>
<style>
text{font:12px system-ui,-apple-system,"Segoe UI",sans-serif;fill:#59636e}
.head{font-size:15px;font-weight:600}.title{font-weight:600}.middle{text-anchor:middle}.end{text-anchor:end}
.ground{fill:#fff}.head,.title{fill:#1f2328}.grid{stroke:#d1d9e0;fill:none}.band{fill:#818b98;fill-opacity:.13}
.line{fill:none;stroke-width:2;stroke-linejoin:round}
.ours{stroke:#0550ae}.other{stroke:#bc4c00;stroke-dasharray:5 3}.mark{fill:#0550ae}
@media(prefers-color-scheme:dark){text{fill:#9198a1}.ground{fill:#0d1117}.head,.title{fill:#f0f6fc}.grid{stroke:#3d444d}
.ours{stroke:#79c0ff}.other{stroke:#ffa657}.mark{fill:#79c0ff}}
</style>
<rect class="ground" width="${WIDTH}" height="${HEIGHT}" rx="6"/>
${text(16, 26, title, ` class="head"`)}
${bands.join("\n")}
${box(successAxis, success)}
${box(p99Axis, p99)}
${ticks.join("\n")}
${marks.join("\n")}
<path class="line ours" d="M16 440h28"/>${text(50, 444, NAMES["inmesh"]!)}
<path class="line other" d="M110 440h28"/>${text(144, 444, NAMES["round_robin"]!)}
<path class="mark" d="M244 444h8l-4 -8z"/>${text(258, 444, "inmesh keeps away from a server that fails")}
${text(RIGHT, 444, "Drawn from Prometheus by scripts/draw-picture.ts", ` class="end"`)}
</svg>
`;
}

const demo = spawn(
  process.execPath,
  [
    "--conditions=inmesh-source",
    "examples/demo/main.ts",
    "--observe",
    "--seconds",
    String(seconds),
  ],
  { cwd: root, stdio: ["ignore", "pipe", "inherit"] },
);
process.once("exit", () => demo.kill("SIGTERM"));
const ended = once(demo, "exit");
let address: string | undefined;
const events: Event[] = [];
for await (const line of createInterface({ input: demo.stdout })) {
  console.log(line);
  address ??= /^Prometheus +(http\S+)/.exec(line)?.[1];
  const [, at, words] = /^ *([\d.]+) s ([a-z].*)$/.exec(line) ?? [];
  if (at !== undefined && words !== undefined) events.push({ at: Number(at), words });
  if (line.startsWith("Prometheus keeps")) break;
}
if (address === undefined) throw new Error("the demo has named no Prometheus");

const now = Date.now() / 1000;
const all = "sum(demo_requests_total)";
const began = await fetch(
  `${address}/api/v1/query_range?${new URLSearchParams({ query: all, start: String(now - 3 * seconds - 60), end: String(now), step: "1" })}`,
);
const { data } = (await began.json()) as { data: { result: { values: Value[] }[] } };
const counted = data.result[0]?.values ?? [];
const last = counted.findLastIndex(([, value]) => Number(value) === 0);
const from = counted[last]?.[0] ?? counted[0]?.[0];
if (from === undefined) throw new Error("Prometheus has seen nothing of the demo");

const rate = (more: string): string =>
  `sum by (side) (rate(demo_requests_total${more}[${WINDOW}]))`;
const success = await askRange(address, `${rate('{outcome="success"}')} / ${rate("")}`, from);
const p99 = await askRange(
  address,
  `histogram_quantile(0.99, sum by (side, le) (rate(demo_request_duration_seconds_bucket[${WINDOW}])))`,
  from,
);
const opened = await askRange(
  address,
  `sum(inmesh_breaker_transitions_total{inmesh_state="open"})`,
  from - 1,
);
const ejections: number[] = [];
let before = 0;
for (const [second, value] of opened[0]?.points ?? []) {
  if (value > before && second > 1) ejections.push(second - 1);
  before = value;
}
const svg = picture(success, p99, ejections, events);
writeFileSync(join(root, OUTPUT), svg);
demo.kill("SIGINT");
await ended;
console.log(`${OUTPUT}: ${svg.length} characters, ${ejections.length} ejections`);
