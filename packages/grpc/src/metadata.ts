/**
 * Every metadata key that inmesh itself reads or writes on gRPC, and what an application may not
 * send. Keys of the protocol are gRPC's own words where it has one: `grpc-timeout`, not a second.
 */
import { Metadata } from "@grpc/grpc-js";
import {
  CONNECTION_FIELDS,
  type HeadField,
  type HeaderChanges,
  type MeshError,
  stacklessError,
} from "@inmesh/core/spi";

/** Time the caller is still willing to wait. */
export const TIMEOUT = "grpc-timeout";
/** Attempts made before this one, sent from the second on. */
export const PREVIOUS_ATTEMPTS = "grpc-previous-rpc-attempts";
/** In trailers: wait so long before the next attempt; below zero: make none (gRFC A6). */
export const PUSHBACK_MS = "grpc-retry-pushback-ms";
export const NACK = "x-mesh-nack";
export const FINAL = "x-mesh-final";
/** In trailers of a refusal: its reason. */
export const REASON = "x-mesh-error";
export const PRIORITY = "x-mesh-priority";
export const HOPS = "x-mesh-hops";
export const TRACEPARENT = "traceparent";
export const TRACESTATE = "tracestate";
export const BAGGAGE = "baggage";
export const CONTENT_TYPE = "content-type";
export const AUTHORIZATION = "authorization";
/** How messages are packed, and how they may be. */
export const ENCODING = "grpc-encoding";
export const MESSAGE_ACCEPT_ENCODING = "grpc-accept-encoding";
export const ACCEPT_ENCODING = "accept-encoding";

const MESH = "x-mesh-";
const GRPC = "grpc-";
/** Keys of gRPC's namespace that are the application's to send. */
const PASSED = new Set(["grpc-trace-bin", "grpc-tags-bin", "grpc-internal-encoding-request"]);

/**
 * The application's metadata as it may go out: a copy without what is ours. Throws MeshError for
 * keys that would change the request itself, and above `maxBytes` (names, values and 32 per entry).
 */
export function sendable(service: string, metadata: Metadata, maxBytes: number): Metadata {
  const own = new Metadata();
  const keys = Object.keys(metadata.getMap());
  if (keys.length === 0) return own;
  own.merge(metadata);
  let bytes = 0;
  for (const key of keys) {
    if (key.startsWith(MESH) || (key.startsWith(GRPC) && !PASSED.has(key))) {
      own.remove(key);
      continue;
    }
    if (key.startsWith(":") || CONNECTION_FIELDS.has(key)) throw refused(service, key);
    for (const value of own.get(key)) bytes += key.length + value.length + 32;
  }
  if (bytes > maxBytes) throw tooLarge(service, bytes, maxBytes);
  return own;
}

/** What a route changes. Its names and values are ones that metadata takes: configuration sees to it. */
export function changeMetadata(metadata: Metadata, { taken, given }: HeaderChanges): void {
  for (const key of taken) metadata.remove(key);
  for (let i = 0; i < given.length; i += 2) metadata.add(given[i]!, given[i + 1]!);
}

/** First value of a key as text; undefined if there is none, or it is binary. */
export function textOf(metadata: Metadata, key: string): string | undefined {
  const value = metadata.get(key)[0];
  return typeof value === "string" ? value : undefined;
}

/** All of it; binary values as they are on the wire. */
export function fieldsOf(metadata: Metadata): HeadField[] {
  return Object.entries(metadata.toJSON()).map(([name, values]) => [
    name,
    values
      .map((value) => (typeof value === "string" ? value : value.toString("base64")))
      .join(", "),
  ]);
}

/**
 * What the server asks for between attempts: milliseconds to wait, `stop` for no further one (below
 * zero, or no whole number in digits; gRFC A6), undefined when it says nothing.
 */
export function pushbackOf(metadata: Metadata): number | "stop" | undefined {
  const values = metadata.get(PUSHBACK_MS);
  if (values.length === 0) return undefined;
  const text = values[0];
  if (values.length > 1 || typeof text !== "string" || !/^\d+$/.test(text)) return "stop";
  return Number(text);
}

function refused(service: string, key: string): MeshError {
  const message = `${service}: metadata may not hold ${JSON.stringify(key)}: it belongs to the connection`;
  return stacklessError("bad_request", "bad_header", "not-sent", message);
}

function tooLarge(service: string, bytes: number, maxBytes: number): MeshError {
  const message = `${service}: metadata has ${bytes} bytes, more than ${maxBytes} (maxMetadataBytes): send less, or raise the limit if the servers take more`;
  return stacklessError("bad_request", "header_too_large", "not-sent", message);
}
