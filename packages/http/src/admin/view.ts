/** What a listener of the API shows: one mesh, or several processes as one. */
import type { Log, TapOptions } from "@inmesh/core";
import type { Mesh, Runtime } from "@inmesh/core/spi";
import { metricsPage, type Inspection, type MetricsPage, type Tap } from "@inmesh/core/spi/inspect";
import type { Readiness } from "@inmesh/core/inspect";
import { RESOURCES, type Asked } from "./resources.ts";

/** What is read of a tap. */
export type OpenTap = Pick<Tap, "next" | "return">;

export interface AdminView {
  readonly runtime: Runtime;
  readonly log: Log;
  /** Directory in which the commands of this user look for processes; undefined: they do not find this one. */
  readonly announcedIn: string | undefined;
  ready(): Readiness | Promise<Readiness>;
  /** One of the answers of docs/reference/admin-api.md; its lists may be iterables. Throws an InspectionError. */
  answer(asked: Asked): object | Promise<object>;
  /** `accept`: of the scrape. */
  metrics(accept: string | undefined): Promise<MetricsPage>;
  /** Throws a ConfigError for options that are wrong, and a MeshError for one too many. */
  tap(options: TapOptions): OpenTap | Promise<OpenTap>;
}

/** `inspection`: the one of that mesh, whose log level may be changed through it. */
export function viewOf(mesh: Mesh, inspection: Inspection): AdminView {
  const { runtime } = mesh;
  return {
    runtime,
    log: (line) => mesh.log(line),
    announcedIn: mesh.registry.dir,
    ready: () => inspection.ready,
    answer: (asked) => RESOURCES[asked.resource]!.methods[asked.method]!.answer(inspection, asked),
    metrics: (accept) => metricsPage(mesh, accept),
    tap: (options) => mesh.tap(options),
  };
}
