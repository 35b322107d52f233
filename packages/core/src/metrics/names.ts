/**
 * How an instrument is named outside of the process: with OpenTelemetry by its own name and attributes, on a
 * page for Prometheus by what the rules of OpenTelemetry make of these, so that both feed the same dashboards.
 */
import type { Instrument } from "../telemetry/telemetry.ts";

/** Where instruments of the mesh begin. Their labels begin so too; those of packages keep their names. */
const OWN = "inmesh.";

/** Words that Prometheus has for units; another unit stands as it is written. */
const UNITS: Readonly<Record<string, string>> = {
  ns: "nanoseconds",
  us: "microseconds",
  ms: "milliseconds",
  s: "seconds",
  min: "minutes",
  h: "hours",
  d: "days",
  By: "bytes",
  KiBy: "kibibytes",
  MiBy: "mebibytes",
  GiBy: "gibibytes",
  Hz: "hertz",
  Cel: "celsius",
  "%": "percent",
};

/**
 * The name of a label as an attribute of OpenTelemetry. `service` alone, as a label of the mesh, would on most
 * Prometheus servers be taken by a label of the scraped target.
 */
export function attributeName(instrument: string, label: string): string {
  return instrument.startsWith(OWN) ? OWN + label : label;
}

/** Attributes of standard metrics that are whole numbers by OpenTelemetry's conventions; labels are texts. */
const NUMBERS: ReadonlySet<string> = new Set(["http.response.status_code", "server.port"]);

/** The value of an attribute. What stands for folded series stays a text. */
export function attributeValue(attribute: string, value: string): string | number {
  return NUMBERS.has(attribute) && /^\d+$/.test(value) ? Number(value) : value;
}

/** The last part of a metric's name in Prometheus, such as `seconds`; empty for counts of something. */
export function unitWord(unit: string, kind: string): string {
  // `{call}` says what is counted, which the name says too.
  const bare = unit.replaceAll(/\{[^}]*\}/g, "");
  if (bare === "1") return kind === "gauge" ? "ratio" : "";
  const [amount = "", per] = bare.split("/");
  const word = plain(UNITS[amount] ?? amount);
  if (per === undefined || per === "") return word;
  const rate = `per_${plain(UNITS[per]?.replace(/s$/, "") ?? per)}`;
  return word === "" ? rate : `${word}_${rate}`;
}

/** The name of a family of samples, without the `_total` of counters. */
export function familyName({ name, unit }: Instrument, kind: string): string {
  let family = plain(name);
  if (kind === "counter") family = family.replace(/_total$/, "");
  const word = unitWord(unit, kind);
  if (word !== "" && family !== word && !family.endsWith(`_${word}`)) family += `_${word}`;
  return /^[a-zA-Z]/.test(family) ? family : `_${family}`;
}

/** A name that no label may have there gets `key_` in front. */
export function labelName(attribute: string, kind: string): string {
  const name = attribute.replaceAll(/[^a-zA-Z0-9_]/g, "_");
  const isTaken = name === "le" && kind === "histogram";
  return isTaken || name.startsWith("__") || !/^[a-zA-Z_]/.test(name) ? `key_${name}` : name;
}

function plain(name: string): string {
  return name.replaceAll(/[^a-zA-Z0-9]+/g, "_").replaceAll(/^_+|_+$/g, "");
}
