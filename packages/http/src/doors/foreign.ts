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
  return own === body ? init : ({ ...init, body: own } as RequestInit);
}
