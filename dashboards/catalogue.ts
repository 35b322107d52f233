/** The instruments of docs/reference/metrics.md, as Prometheus sees them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  attributeName,
  familyName,
  labelName,
  unitWord,
} from "../packages/core/src/metrics/names.ts";

export interface Family {
  /** Of the instrument. */
  readonly instrument: string;
  readonly kind: string;
  readonly description: string;
  /** As Prometheus names it, such as `seconds`; empty for counts. */
  readonly unit: string;
  /** Without `_total`, `_bucket` and the like, as in the metadata of Prometheus. */
  readonly name: string;
  /** Under which names its samples stand. */
  readonly samples: readonly string[];
  readonly labels: readonly string[];
}

const PAGE = join(import.meta.dirname, "../docs/reference/metrics.md");
const ROW =
  /^\| `([a-z_]+\.[a-z_.]+)` \| (counter|histogram|gauge) \| `([^`]+)` \|([^|]*)\|(.*)\|$/gm;
const ENDINGS: Readonly<Record<string, readonly string[]>> = {
  counter: ["_total"],
  histogram: ["_bucket", "_sum", "_count"],
  gauge: [""],
};

export const CATALOGUE: readonly Family[] = [...readFileSync(PAGE, "utf8").matchAll(ROW)].map(
  ([, instrument = "", kind = "", unit = "", labels = "", meaning = ""]) => {
    const description = meaning.trim();
    const name = familyName({ name: instrument, unit, description }, kind);
    return {
      instrument,
      kind,
      description,
      unit: unitWord(unit, kind),
      name,
      samples: ENDINGS[kind]!.map((ending) => name + ending),
      labels: labels
        .split(",")
        .map((label) => label.trim().replaceAll("`", ""))
        .filter(Boolean)
        .map((label) => labelName(attributeName(instrument, label), kind)),
    };
  },
);
