/** Every header that inmesh itself reads or writes on HTTP. Their names stand nowhere else. */
import { isClaim } from "@inmesh/core/spi";
import { parseHttpDate } from "./http-date.ts";

/** Milliseconds the caller is still willing to wait: relative, so clocks need not agree. */
export const TIMEOUT_MS = "x-mesh-timeout-ms";
/** Number of this attempt, sent from the second on: one layer retries, the others leave it to that. */
export const ATTEMPT = "x-mesh-attempt";
/** A refusal whose sender guarantees that the request was not processed. Believed by `trustNacks` only. */
export const NACK = "x-mesh-nack";
/** `critical`, `normal` or `sheddable`; absent means normal. */
export const PRIORITY = "x-mesh-priority";
/** How many servers of the mesh a request has come through. */
export const HOPS = "x-mesh-hops";
/** On a reply: its sender has retried already, so no caller above does. */
export const FINAL = "x-mesh-final";
/** On an HTTP/2 reply: no further stream on this connection, please; what HTTP/1 says by `close`. */
export const LEAVING = "x-mesh-leaving";
/** On a refusal: its reason, from the closed set of docs/reference/errors.md. */
export const REASON = "x-mesh-error";
/** W3C Trace Context. */
export const TRACEPARENT = "traceparent";
export const TRACESTATE = "tracestate";
export const BAGGAGE = "baggage";
/** Our namespace: what an application puts there is not sent. */
export const NAMESPACE = "x-mesh-";
export const USER_AGENT = "user-agent";
/** What we say to others than peers. A test compares it with the version of the package. */
export const USER_AGENT_TEXT = "inmesh/0.1.0";
export const RETRY_AFTER = "retry-after";
export const IDEMPOTENCY_KEY = "idempotency-key";
export const CONTENT_LENGTH = "content-length";
export const TRANSFER_ENCODING = "transfer-encoding";
export const CONTENT_TYPE = "content-type";
export const ACCEPT_ENCODING = "accept-encoding";
export const CONTENT_ENCODING = "content-encoding";
export const DATE = "date";
export const HOST = "host";
/** What is wrong with a request that brings one of its own. */
export const HOST_RULE =
  "the host header belongs to the service; set its `authority` in the configuration";
export const KEEP_ALIVE = "keep-alive";
export const SET_COOKIE = "set-cookie";

/** Headers as undici hands them over: lower-case names, several values of one name as an array. */
export type RawHeaders = Record<string, string | string[] | undefined>;

/** Framing, routing and authentication: not to be believed behind a body (RFC 9110 §6.5.1). */
const NEVER_TRAILERS = new Set([
  CONTENT_LENGTH,
  TRANSFER_ENCODING,
  CONTENT_TYPE,
  HOST,
  RETRY_AFTER,
  "authorization",
  "connection",
  CONTENT_ENCODING,
  "content-range",
  "location",
  "proxy-authenticate",
  "proxy-authorization",
  SET_COOKIE,
  "te",
  "trailer",
  "upgrade",
  "www-authenticate",
]);

/** Trailers that an application may see. */
export function allowedTrailers(trailers: RawHeaders): RawHeaders {
  const allowed: RawHeaders = {};
  for (const [name, value] of Object.entries(trailers)) {
    if (isAllowedTrailer(name)) allowed[name] = value;
  }
  return allowed;
}

/** `name` is lower-case. */
export function isAllowedTrailer(name: string): boolean {
  return !NEVER_TRAILERS.has(name) && !isClaim(name);
}

/** The one value of a header; undefined if it is absent, or there are several (they contradict). */
export function single(headers: RawHeaders, name: string): string | undefined {
  const value = headers[name];
  return typeof value === "string" ? value : undefined;
}

/**
 * `Retry-After` in milliseconds (RFC 9110 §10.2.3): digits are seconds, and a date is measured by the
 * reply's own clock. Undefined if it is absent or says anything else, a sign or a fraction too: then it
 * says nothing.
 */
export function retryAfterMs(headers: RawHeaders): number | undefined {
  const text = single(headers, RETRY_AFTER);
  if (text === undefined) return undefined;
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  // A date is compared with the server's Date, never with our clock, which may be hours apart.
  const until = parseHttpDate(text);
  const sent = parseHttpDate(single(headers, DATE) ?? "");
  return until === undefined || sent === undefined ? undefined : Math.max(0, until - sent);
}

/** Headers of a reply, as received: never joined, never reordered. */
export class HttpHeaders implements Iterable<[string, string]> {
  readonly #raw: RawHeaders;

  constructor(raw: RawHeaders) {
    this.#raw = raw;
  }

  /** First value, by name in any case; undefined if absent. */
  get(name: string): string | undefined {
    const value = this.#raw[name.toLowerCase()];
    return Array.isArray(value) ? value[0] : value;
  }

  /** Every value of a name, for `set-cookie` and others that repeat. */
  getAll(name: string): readonly string[] {
    const value = this.#raw[name.toLowerCase()];
    return value === undefined ? [] : Array.isArray(value) ? value : [value];
  }

  has(name: string): boolean {
    return this.#raw[name.toLowerCase()] !== undefined;
  }

  *[Symbol.iterator](): Generator<[string, string]> {
    for (const [name, value] of Object.entries(this.#raw)) {
      if (Array.isArray(value)) for (const one of value) yield [name, one];
      else if (value !== undefined) yield [name, value];
    }
  }
}

/**
 * Pairs of name and value, and no plain object. What was put on the prototype of all objects makes
 * none of them a list.
 */
export function isPairs(headers: object): headers is Iterable<readonly [unknown, unknown]> {
  const { [Symbol.iterator]: iterator } = headers as Partial<Iterable<unknown>>;
  const { [Symbol.iterator]: polluted } = Object.prototype as Partial<Iterable<unknown>>;
  return iterator !== undefined && iterator !== polluted;
}

/** Most peers send names in lower case, and lowering costs more than comparing. */
export function isNamed(name: string, lower: string): boolean {
  return name === lower || name.toLowerCase() === lower;
}
