/**
 * npm undici's fetch knows its own classes only: a Request or FormData of the built-in fetch would be
 * sent as the text "[object FormData]". Here they become what every fetch understands.
 */
import type { RequestInfo, RequestInit } from "undici";

/** The arguments without classes of the built-in fetch. */
export async function translated(
  input: RequestInfo,
  init: RequestInit | undefined,
): Promise<[RequestInfo, RequestInit | undefined]> {
  const given: unknown = input;
  if (!(given instanceof Request)) return [input, await withBytes(init)];
  const { url, method, headers, body, signal, redirect } = given;
  const own = { method, headers: [...headers], signal, redirect };
  const streamed = body === null ? {} : { body, duplex: "half" };
  return [url, await withBytes({ ...own, ...streamed, ...init } as RequestInit)];
}

async function withBytes(init: RequestInit | undefined): Promise<RequestInit | undefined> {
  const body: unknown = init?.body;
  if (!(body instanceof FormData)) return init;
  const encoded = new Response(body);
  const headers = new Headers(init!.headers);
  if (!headers.has("content-type")) {
    headers.set("content-type", encoded.headers.get("content-type")!);
  }
  return { ...init, headers: [...headers] as [string, string][], body: await encoded.blob() };
}
