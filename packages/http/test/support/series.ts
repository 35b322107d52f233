/** Measurements of a mesh as tests read them. */
import type { Mesh } from "@inmesh/core";

export type SeriesLabels = Readonly<Record<string, string>>;

/** Of all series with these labels the sum; of histograms that of the counts. Undefined: there is none. */
export function readSeries(
  mesh: Pick<Mesh, "metrics">,
  name: string,
  labels: SeriesLabels = {},
): number | undefined {
  const fits = (one: SeriesLabels): boolean =>
    Object.entries(labels).every(([key, value]) => one[key] === value);
  const found = mesh.metrics().filter((one) => one.name === name && fits(one.labels));
  if (found.length === 0) return undefined;
  return found.reduce((sum, one) => sum + (one.kind === "histogram" ? one.count : one.value), 0);
}
