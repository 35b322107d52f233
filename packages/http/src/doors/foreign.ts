/**
 * npm undici's fetch knows its own classes only: a Request or FormData of the built-in fetch would be
 * sent as the text "[object FormData]". Here they become what every fetch understands.
 */
import type { RequestInfo, RequestInit } from "undici";
import { suppliedToFetch } from "../client/supplied-body.ts";

/** The arguments without classes of the built-in fetch. */
export function translated(
  input: RequestInfo,
  init: RequestInit | undefined,
): [RequestInfo, RequestInit | undefined] {
  const given: unknown = input;
  if (!(given instanceof Request)) return [input, withOwnBody(init)];
  const { url, method, headers, body, signal, redirect } = given;
  const own = { method, headers: [...headers], signal, redirect };
  const streamed = body === null ? {} : { body, duplex: "half" };
  return [url, withOwnBody({ ...own, ...streamed, ...init } as RequestInit)];
}

/** A form or stream that cannot be read ends the call with `bad_body`, and is never held in memory. */
function withOwnBody(init: RequestInit | undefined): RequestInit | undefined {
  const body: unknown = init?.body;
  const own = suppliedToFetch(body);
  return own === body ? init : ({ ...init, body: own } as RequestInit);
}
