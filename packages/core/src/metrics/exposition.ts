/**
 * Series as text: OpenMetrics 1.0, or Prometheus' own text format 0.0.4, which has no units and no end. A
 * function of plain data, made piece by piece so that a process with many series can do other things in
 * between. Names are checked here, because a page with one wrong line is refused as a whole.
 *
 * https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md
 */
import type { Exemplar, Labels, Series } from "../telemetry/telemetry.ts";
import { attributeName, familyName, labelName, unitWord } from "./names.ts";

export type Format = "openmetrics" | "text";

export const CONTENT_TYPES: Readonly<Record<Format, string>> = {
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
  text: "text/plain; version=0.0.4; charset=utf-8",
};

/** Families by name, and their series by labels: the same data make the same page. */
export function* exposition(
  series: readonly Series[],
  format: Format,
): Generator<string, void, void> {
  const taken = new Set<string>();
  for (const family of familiesOf(series)) {
    const { kind, unit, description } = family[0];
    const name = familyName(family[0], kind);
    const names = sampleNames(name, kind);
    // Two instruments, such as `a.b` and `a_b`, that would have one name there: the first one has it.
    if (names.some((one) => taken.has(one))) continue;
    for (const one of names) taken.add(one);
    yield head(name, kind, unitWord(unit, kind), description, format);
    yield* samples(family, name, format);
  }
  if (format === "openmetrics") yield "# EOF\n";
}

/** Series of one name, kind and unit. */
type Family = [Series, ...Series[]];

/** By name; of series with one name, those that are of the kind and unit of the first. */
function familiesOf(series: readonly Series[]): Family[] {
  const families = new Map<string, Family>();
  for (const one of series) {
    const family = families.get(one.name);
    if (family === undefined) families.set(one.name, [one]);
    else if (family[0].kind === one.kind && family[0].unit === one.unit) family.push(one);
  }
  return [...families].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, family]) => family);
}

function sampleNames(name: string, kind: Series["kind"]): string[] {
  if (kind === "counter") return [name, `${name}_total`];
  return kind === "gauge" ? [name] : [name, `${name}_bucket`, `${name}_count`, `${name}_sum`];
}

function head(
  name: string,
  kind: Series["kind"],
  unit: string,
  description: string,
  format: Format,
): string {
  if (format === "openmetrics") {
    // A unit must be the end of the name.
    const unitLine = unit !== "" && name.endsWith(`_${unit}`) ? `# UNIT ${name} ${unit}\n` : "";
    return `# TYPE ${name} ${kind}\n${unitLine}# HELP ${name} ${escaped(description)}\n`;
  }
  // There a counter's family has the name of its samples, and quotes of a help are not escaped.
  const family = kind === "counter" ? `${name}_total` : name;
  const help = escaped(description).replaceAll('\\"', '"');
  return `# HELP ${family} ${help}\n# TYPE ${family} ${kind}\n`;
}

interface Labelled {
  readonly labels: string;
  readonly series: Series;
}

function* samples(family: Family, name: string, format: Format): Generator<string, void, void> {
  const writer = new LabelWriter(family[0]);
  const sorted: Labelled[] = [];
  for (const series of family) {
    sorted.push({ labels: writer.write(series.labels), series });
    yield "";
  }
  sorted.sort((a, b) => (a.labels < b.labels ? -1 : a.labels > b.labels ? 1 : 0));
  let before: string | undefined;
  let bounds: readonly number[] | undefined;
  let limits: string[] = [];
  for (const { labels, series } of sorted) {
    // Values that differ in what cannot be written: one line for both, or the page would be refused.
    if (labels === before) continue;
    before = labels;
    if (series.kind === "histogram") {
      if (series.bounds !== bounds) {
        bounds = series.bounds;
        limits = bounds.map((bound) => limitText(bound, format));
      }
      yield histogram(name, labels, series, limits, format);
    } else if (series.kind === "gauge") {
      yield `${name}${braced(labels)} ${numberText(series.value)}\n`;
    } else if (series.value >= 0) {
      // A counter is never negative, and never NaN.
      const { value, exemplar } = series;
      yield `${name}_total${braced(labels)} ${numberText(value)}${exemplarText(exemplar, format)}\n`;
    }
  }
}

function histogram(
  name: string,
  labels: string,
  { counts, sum, exemplars = [] }: Series & { kind: "histogram" },
  limits: readonly string[],
  format: Format,
): string {
  const start = `${name}_bucket{${labels}${labels === "" ? "" : ","}le="`;
  let text = "";
  let below = 0;
  for (const [i, limit] of limits.entries()) {
    below += counts[i] ?? 0;
    text += `${start}${limit}"} ${below}${exemplarText(exemplars[i], format)}\n`;
  }
  const count = below + (counts[limits.length] ?? 0);
  const all = braced(labels);
  text += `${start}+Inf"} ${count}${exemplarText(exemplars[limits.length], format)}\n`;
  // Without a sum there must be no count either.
  if (Number.isNaN(sum)) return text;
  return `${text}${name}_sum${all} ${numberText(sum)}\n${name}_count${all} ${count}\n`;
}

/** What stands behind a sample. The plain format has none. An exemplar that is no number would cost the page. */
function exemplarText(exemplar: Exemplar | undefined, format: Format): string {
  if (exemplar === undefined || format !== "openmetrics") return "";
  const { traceId, value, atWallMs } = exemplar;
  if (!TRACE_ID.test(traceId) || !Number.isFinite(value)) return "";
  return ` # {trace_id="${traceId}"} ${value} ${atWallMs / 1000}`;
}

const TRACE_ID = /^[0-9a-f]{32}$/;

/** The labels of a family's series, whose names are the same for most of them. */
class LabelWriter {
  readonly #instrument: Series;
  #keys: string[] = [];
  /** In the order of their names; more than one key where two names become the same. */
  #layout: { readonly name: string; readonly keys: readonly string[] }[] = [];

  constructor(instrument: Series) {
    this.#instrument = instrument;
  }

  write(labels: Labels): string {
    const keys = Object.keys(labels);
    if (!sameTexts(keys, this.#keys)) this.#learn(keys);
    let text = "";
    for (const { name, keys: of } of this.#layout) {
      const value = of.length === 1 ? labels[of[0]!]! : of.map((key) => labels[key]).join(";");
      text += `${text === "" ? "" : ","}${name}="${escaped(value)}"`;
    }
    return text;
  }

  #learn(keys: string[]): void {
    const { name: instrument, kind } = this.#instrument;
    const byName = new Map<string, string[]>();
    for (const key of keys.toSorted()) {
      const name = labelName(attributeName(instrument, key), kind);
      byName.set(name, [...(byName.get(name) ?? []), key]);
    }
    this.#keys = keys;
    this.#layout = [...byName]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, of]) => ({ name, keys: of }));
  }
}

function sameTexts(a: readonly string[], b: readonly string[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function braced(labels: string): string {
  return labels === "" ? "" : `{${labels}}`;
}

// eslint-disable-next-line no-control-regex -- they are what it is for
const SPECIAL = /["\\\u0000-\u001f\u007f-\u009f]/;
// eslint-disable-next-line no-control-regex
const EVERY_SPECIAL = /["\\\u0000-\u001f\u007f-\u009f]/g;

/**
 * Other control characters, which end the page for some parsers and are commands to a terminal, are written
 * as text (`\u001b`). Halves of surrogate pairs have no UTF-8: the replacement character stands for them.
 */
function escaped(text: string): string {
  const value = text.isWellFormed() ? text : text.toWellFormed();
  if (!SPECIAL.test(value)) return value;
  return value.replaceAll(EVERY_SPECIAL, (one) => {
    if (one === "\n") return "\\n";
    if (one === '"' || one === "\\") return `\\${one}`;
    return `\\\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

function numberText(value: number): string {
  if (value === Infinity) return "+Inf";
  return value === -Infinity ? "-Inf" : String(value);
}

/** OpenMetrics wants a point in each limit, and Prometheus writes none in its own format. */
function limitText(bound: number, format: Format): string {
  const text = numberText(bound);
  return format === "openmetrics" && /^-?\d+$/.test(text) ? `${text}.0` : text;
}
