/**
 * Which instrumentations of OpenTelemetry see the requests of this process. They record the standard metrics, and
 * write trace headers, themselves; what both would do is done once.
 */
import { channel } from "node:diagnostics_channel";

/** Has subscribers where instrumentation-undici is active. One channel for every undici of the process. */
const undiciRequests = channel("undici:request:create");

export function isUndiciInstrumented(): boolean {
  return undiciRequests.hasSubscribers;
}

/**
 * instrumentation-http takes the place of functions of node:http, and marks what it puts there, so that others
 * can ask (`isWrapped` of `@opentelemetry/instrumentation`).
 */
function isWrapped(holder: object, name: string): boolean {
  const put = (holder as Readonly<Record<string, { readonly __wrapped?: unknown }>>)[name];
  return put?.__wrapped === true;
}

const { Server } = process.getBuiltinModule("node:http");

/** Requests that servers of node:http and node:https give to their listeners. Not those of node:http2. */
export function areServersInstrumented(): boolean {
  return isWrapped(Server.prototype, "emit");
}

/** Requests that applications make by node:http or node:https. */
export function areRequestsInstrumented(): boolean {
  return (
    isWrapped(process.getBuiltinModule("node:http"), "request") ||
    isWrapped(process.getBuiltinModule("node:https"), "request")
  );
}
