/**
 * `inmesh/traces`: spans of a mesh, for applications that run an SDK of OpenTelemetry. Loaded only by them. Throws, at the
 * import, an Error that names the command which installs what is missing.
 */
import type * as Traces from "@inmesh/core/traces";
import { needed } from "./telemetry/needed.ts";
import { loadTraces } from "./telemetry/sdk.cjs";

export type { TracedMesh, TraceOptions } from "@inmesh/core/traces";

const traces: Pick<typeof Traces, "traceMesh"> = needed(
  loadTraces,
  "inmesh/traces makes spans by the API of OpenTelemetry, which is not installed: npm install @opentelemetry/api",
);

export const traceMesh: typeof Traces.traceMesh = traces.traceMesh;
