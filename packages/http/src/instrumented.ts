/**
 * Which instrumentations of OpenTelemetry see the requests of this process. They record the standard metrics, and
 * write trace headers, themselves; what both would do is done once.
 */
import { channel } from "node:diagnostics_channel";
import { isInstrumented } from "@inmesh/core/spi";

/** Has subscribers where instrumentation-undici is active. One channel for every undici of the process. */
const undiciRequests = channel("undici:request:create");

export function isUndiciInstrumented(): boolean {
  return undiciRequests.hasSubscribers;
}

/**
 * Requests that this server gives to its listeners. Asked before the mesh stands in front of them: it keeps the
 * `emit` that was there. Those of node:http2 are none.
 */
export function isServerInstrumented(server: object): boolean {
  return isInstrumented(server, "emit");
}

/** Requests that applications make by node:http or node:https. */
export function areRequestsInstrumented(): boolean {
  return (
    isInstrumented(process.getBuiltinModule("node:http"), "request") ||
    isInstrumented(process.getBuiltinModule("node:https"), "request")
  );
}
