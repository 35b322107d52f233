/**
 * `@inmesh/core/spi/telemetry`: for a package that takes measurements, or records of calls, out of the
 * process. Not covered by semver before 1.0.
 */

// Where measurements go, and which there are.
export type {
  Counter,
  Histogram,
  Instrument,
  Labels,
  Series,
  Telemetry,
} from "../telemetry/telemetry.ts";
export { Recorder } from "../telemetry/recorder.ts";
export { INSTRUMENTS } from "../telemetry/instruments.ts";

// What takes them out of every mesh of the process.
export { exportEveryMesh, type Exporter, type ProcessMesh } from "../exporter.ts";

// What observers of calls and attempts are given.
export { Observers } from "../observe/observers.ts";
export type { AttemptObserved, CallObserved, CallRecorder } from "../call.ts";
