/**
 * `inmesh/telemetry`: the one line for who has no SDK of OpenTelemetry yet, `import "inmesh/telemetry"` before
 * everything else, or `node --import inmesh/telemetry app.js` (`--require` for CommonJS). It starts
 * `@opentelemetry/sdk-node` by the standard `OTEL_*` variables, with the spans and series of every mesh that is made
 * afterwards, the default one included. Loads what nothing else of inmesh loads.
 */
import { startTelemetry, type ProcessTelemetry } from "./telemetry/start.ts";

export type { ProcessTelemetry, TelemetryState } from "./telemetry/start.ts";

/**
 * What was started by this import. Throws, at the import, an Error that names the command which installs what is
 * missing.
 */
export const telemetry: ProcessTelemetry = startTelemetry(process.env);
