/**
 * npm undici's fetch knows its own classes only: a Request or FormData of the built-in fetch, or of
 * another version of undici, would be sent as the text "[object FormData]". Here they become what every fetch understands.
 */
import type { Request as OwnRequest, RequestInfo, RequestInit } from "undici";
import { suppliedToFetch } from "../client/supplied-body.ts";

/** What a Request says besides its URL, headers and body, under the names that an init has. */
const SETTINGS = [
  "method",
  "signal",
  "redirect",
  "integrity",
  "keepalive",
  "referrer",
  "referrerPolicy",
  "mode",
  "credentials",
  "cache",
] as const;

/** The arguments without classes of another fetch; `Own` is the Request of the one that is called. */
export function translated(
  input: RequestInfo,
  init: RequestInit | undefined,
  Own: typeof OwnRequest,
): [RequestInfo, RequestInit | undefined] {
  if (!isForeign(input, Own)) return [input, withOwnBody(init)];
  const own: Record<string, unknown> = { headers: [...input.headers] };
  for (const name of SETTINGS) if (input[name] !== undefined) own[name] = input[name];
  // Only a browser's own navigation has it, and no init may.
  if (own["mode"] === "navigate") delete own["mode"];
  const { body } = input;
  if (body !== null && body !== undefined && init?.body === undefined) {
    own["body"] = body;
    own["duplex"] = "half";
  }
  return [input.url, withOwnBody({ ...own, ...init })];
}

/** A Request of the built-in fetch, or of another copy of undici: by what it says that it is. */
function isForeign(input: unknown, Own: typeof OwnRequest): input is OwnRequest {
  if (typeof input !== "object" || input === null || input instanceof Own) return false;
  return Object.prototype.toString.call(input) === "[object Request]" && "url" in input;
}

/** A form or stream that cannot be read ends the call with `bad_body`, and is never held in memory. */
function withOwnBody(init: RequestInit | undefined): RequestInit | undefined {
  const body: unknown = init?.body;
  const own = suppliedToFetch(body);
  if (own !== body) return { ...init, body: own } as RequestInit;
  if (isLost(body)) {
    throw new TypeError(
      'fetch: the body is an object, which would be sent as the text "[object Object]": JSON.stringify it',
    );
  }
  return init;
}

/** Fetch makes a text of what it does not know. Of a plain object, of any realm, that text is never meant. */
function isLost(body: unknown): boolean {
  if (typeof body !== "object" || body === null) return false;
  const proto: unknown = Object.getPrototypeOf(body);
  const isPlain = proto === null || Object.getPrototypeOf(proto) === null;
  const hasText = Object.hasOwn(body, "toString") || Symbol.toPrimitive in body;
  return isPlain && !hasText && Object.prototype.toString.call(body) === "[object Object]";
}
