/** What is measured of the mesh itself, its certificates and its process, by name. */
import type { Instrument } from "./telemetry.ts";

export const CONFIG_LAST_APPLIED: Instrument = {
  name: "inmesh.config.last_applied.timestamp",
  unit: "s",
  description: "When what a source says was last taken into force, in seconds since 1970.",
};
export const CERT_EXPIRY: Instrument = {
  name: "inmesh.cert.expiry.timestamp",
  unit: "s",
  description: "When a certificate in force ends, in seconds since 1970.",
};
export const CERT_ISSUED: Instrument = {
  name: "inmesh.cert.issued.timestamp",
  unit: "s",
  description: "From when a certificate in force is valid, in seconds since 1970.",
};
export const BUNDLE_INFO: Instrument = {
  name: "inmesh.bundle.info",
  unit: "{state}",
  description: "1 for the bundle of authorities in force, named by the start of its hash.",
};
export const BUILD_INFO: Instrument = {
  name: "inmesh.build.info",
  unit: "{state}",
  description: "1, with the versions of inmesh and of Node.",
};
export const LOOP_DELAY: Instrument = {
  name: "inmesh.runtime.loop.delay",
  unit: "s",
  description: "By how much the event loop is late, over the last 10 seconds.",
};
export const LOOP_UTILIZATION: Instrument = {
  name: "inmesh.runtime.loop.utilization",
  unit: "1",
  description: "Share of the last 10 seconds in which the event loop was at work.",
};
export const HEAP_UTILIZATION: Instrument = {
  name: "inmesh.runtime.heap.utilization",
  unit: "1",
  description: "Share of the heap's limit that is in use.",
};
export const HANDLES: Instrument = {
  name: "inmesh.handles",
  unit: "{handle}",
  description: "Sockets and listening servers that belong to the mesh; 0 after its close.",
};
export const BOUNDED_SIZE: Instrument = {
  name: "inmesh.bounded.size",
  unit: "{item}",
  description: "How full a queue, cache or table is; of several alike, the fullest.",
};
export const BOUNDED_LIMIT: Instrument = {
  name: "inmesh.bounded.limit",
  unit: "{item}",
  description: "How full that one may become.",
};
export const LOG_SUPPRESSED: Instrument = {
  name: "inmesh.log.suppressed",
  unit: "{line}",
  description: "Lines that were left out of the log.",
};
/** Written by packages that run in events of the process, outside of any call. */
export const DEFECTS: Instrument = {
  name: "inmesh.defects",
  unit: "{error}",
  description: "Errors of inmesh's own that have ended a connection.",
};
/** Written by a process that starts others, which serve in its place. */
export const WORKERS: Instrument = {
  name: "inmesh.workers",
  unit: "{worker}",
  description: "Processes that serve together, by what they do.",
};
export const WORKERS_ENDED: Instrument = {
  name: "inmesh.workers.ended",
  unit: "{worker}",
  description: "Workers that ended unasked; another one starts in the place of each.",
};

export const PROCESS_INSTRUMENTS: readonly Instrument[] = [
  CONFIG_LAST_APPLIED,
  CERT_EXPIRY,
  CERT_ISSUED,
  BUNDLE_INFO,
  BUILD_INFO,
  LOOP_DELAY,
  LOOP_UTILIZATION,
  HEAP_UTILIZATION,
  HANDLES,
  BOUNDED_SIZE,
  BOUNDED_LIMIT,
  LOG_SUPPRESSED,
  DEFECTS,
  WORKERS,
  WORKERS_ENDED,
];
