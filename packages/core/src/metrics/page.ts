/** The page that Prometheus scrapes: every series of a mesh, in the format that the scrape asks for. */
import type { ExportedMesh } from "../exporter.ts";
import { formatOf } from "./accept.ts";
import { CONTENT_TYPES, exposition, type Format } from "./exposition.ts";
import { inSlices } from "./slices.ts";

/** What is read of a mesh, or of what stands in for one. */
export type MeteredMesh = Pick<ExportedMesh, "metrics" | "runtime">;

export interface MetricsPage {
  /** For the reply's `content-type`. */
  readonly contentType: string;
  readonly body: string;
}

/** Scrapes that arrive while a page is written share it: their number adds nothing to the work. */
const inProgress = new WeakMap<MeteredMesh, Map<Format, Promise<MetricsPage>>>();

/**
 * Every series of `mesh.metrics()` as a page for Prometheus, or for what else reads its formats.
 *
 * `accept` is the Accept header of the request: OpenMetrics 1.0 for a scrape that names it, else text 0.0.4.
 * The page is written in slices of a few milliseconds, with the I/O of the process in between. Serve it
 * where only your own network can ask: it names services and routes. Of a mesh with a `telemetry` of its own
 * the page is empty. Rejects only with what `mesh.metrics()` throws.
 */
export function metricsPage(mesh: MeteredMesh, accept?: string | null): Promise<MetricsPage> {
  const format = formatOf(accept);
  let pages = inProgress.get(mesh);
  if (pages === undefined) inProgress.set(mesh, (pages = new Map()));
  let page = pages.get(format);
  if (page === undefined) {
    page = write(mesh, format).finally(() => inProgress.get(mesh)?.delete(format));
    pages.set(format, page);
  }
  return page;
}

/** Pieces that become one text at a time: all of them at once would hold the loop up at the end. */
const JOINED = 256;

async function write(mesh: MeteredMesh, format: Format): Promise<MetricsPage> {
  const texts: string[] = [];
  let pieces: string[] = [];
  await inSlices(exposition(mesh.metrics(), format), mesh.runtime, (piece) => {
    if (piece === "" || pieces.push(piece) < JOINED) return;
    texts.push(pieces.join(""));
    pieces = [];
  });
  return { contentType: CONTENT_TYPES[format], body: texts.join("") + pieces.join("") };
}
