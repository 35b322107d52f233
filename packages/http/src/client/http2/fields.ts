/** Header fields between our form (names and values in turn, as for HTTP/1.1) and HTTP/2's. */
import { type MeshError, stacklessError, TOKEN } from "@inmesh/core/spi";
import type { OutgoingHttpHeaders } from "node:http2";
import { faultOfHead } from "../call-input.ts";
import type { RawHeaders } from "../../headers.ts";
import type { HttpRequest } from "../request.ts";

const TARGET = /^[\x21-\xff]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Throws a `bad_request` for what HTTP/1.1 refuses too, so that a service may change versions. */
export function requestFields(
  request: HttpRequest,
  scheme: string,
  authority: string,
  service: string,
): OutgoingHttpHeaders {
  const { method, path, headers } = request;
  const bad = (reason: "bad_target" | "bad_header", what: string): MeshError =>
    stacklessError("bad_request", reason, "not-sent", `${service}: ${what}`);
  if (!TOKEN.test(method) || method === "CONNECT") {
    throw bad("bad_target", "the method is not one, or cannot be sent over HTTP/2");
  }
  if (!TARGET.test(path))
    throw bad("bad_target", faultOfHead(request)?.what ?? "the path is empty");
  const fields = Object.create(null) as OutgoingHttpHeaders;
  fields[":method"] = method;
  fields[":scheme"] = scheme;
  fields[":authority"] = authority;
  fields[":path"] = path;
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!.toLowerCase();
    const value = headers[i + 1]!;
    if (!TOKEN.test(name) || !VALUE.test(value)) {
      throw bad(
        "bad_header",
        faultOfHead({ method, path, headers: headers.slice(i, i + 2) })?.what ??
          "a header is malformed",
      );
    }
    switch (name) {
      // Framing belongs to the connection, and HTTP/2 has its own.
      case "connection":
        continue;
      case "transfer-encoding":
      case "keep-alive":
      case "proxy-connection":
      case "upgrade":
      case "expect":
        throw bad("bad_header", `the header ${name} cannot be sent`);
      case "te":
        if (value !== "trailers") throw bad("bad_header", "te can only be trailers over HTTP/2");
    }
    const before = fields[name];
    if (before === undefined) fields[name] = value;
    else if (Array.isArray(before)) before.push(value);
    else fields[name] = [before as string, value];
  }
  return fields;
}

/** As undici hands headers over: lower-case names, several values of one name as an array. */
export function rawFields(flat: readonly string[]): RawHeaders {
  const raw = Object.create(null) as RawHeaders;
  for (let i = 0; i < flat.length; i += 2) {
    const name = flat[i]!;
    if (name.charCodeAt(0) === 58) continue; // a pseudo-header
    const value = flat[i + 1]!;
    const before = raw[name];
    if (before === undefined) raw[name] = value;
    else if (typeof before === "string") raw[name] = [before, value];
    else before.push(value);
  }
  return raw;
}

/** What HTTP/1 has no name for stands before all others, as nghttp2 makes sure. */
export function withoutPseudo(flat: readonly string[]): string[] {
  let from = 0;
  while (flat[from]?.charCodeAt(0) === 58) from += 2;
  return flat.slice(from);
}

/** The same of a request, before it is sent. */
export function headBytes(fields: OutgoingHttpHeaders): number {
  let bytes = 0;
  for (const name in fields) {
    const value = fields[name];
    if (Array.isArray(value)) for (const one of value) bytes += name.length + one.length + 32;
    else bytes += name.length + String(value).length + 32;
  }
  return bytes;
}

/** RFC 9113 §6.5.2: 32 bytes for each field besides its text. */
export function fieldBytes(flat: readonly string[]): number {
  let bytes = 0;
  for (const text of flat) bytes += text.length + 16;
  return bytes;
}
