/**
 * `@inmesh/core/spi/telemetry`: for a package that takes measurements, or records of calls, out of the
 * process. Not covered by semver before 1.0.
 */

// Where measurements go, and which there are.
export type {
  Counter,
  Exemplar,
  Histogram,
  Instrument,
  Labels,
  Series,
  Telemetry,
} from "../telemetry/telemetry.ts";
export { Recorder } from "../telemetry/recorder.ts";
export { INSTRUMENTS } from "../telemetry/instruments.ts";
export { DEFECTS, WORKERS, WORKERS_ENDED } from "../telemetry/process-instruments.ts";

// What takes them out of every mesh of the process.
export { exportEveryMesh, type Exporter, type ProcessMesh } from "../exporter.ts";
// Durations under the names of OpenTelemetry's semantic conventions, which protocols describe.
export type { Histogrammed } from "../telemetry/buckets.ts";
export {
  knownMethod,
  OTHER_NAME,
  serverPort,
  STANDARD_SECONDS,
  type StandardClient,
  type StandardDuration,
  type StandardMetrics,
} from "../telemetry/standard.ts";
export {
  GRPC_SERVED_DURATION,
  grpcCallDuration,
  routedGrpcPaths,
} from "../telemetry/rpc-durations.ts";

// What observers of calls and attempts are given.
export { Observers } from "../observe/observers.ts";
export type { AttemptObserved, CallObserved, CallRecorder } from "../call.ts";
