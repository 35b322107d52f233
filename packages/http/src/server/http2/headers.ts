/** Which header fields a handler may set on a reply over HTTP/2, and how its three ways to say them are read. */
import { TOKEN } from "@inmesh/core/spi";
import { nodeError } from "./errors.ts";

export type HeaderValue = string | number | readonly string[];
export type Headers = Record<string, HeaderValue | undefined>;
export type Field = readonly [name: string, value: unknown];

export function keyOf(name: string): string {
  if (typeof name !== "string") {
    throw nodeError("ERR_INVALID_ARG_TYPE", "The name of a header is a text");
  }
  return name.trim().toLowerCase();
}

/** Throws for what is no header; false for what HTTP/2 does not know and Node drops with a warning. */
export function isHeader(key: string, value: unknown): boolean {
  if (!TOKEN.test(key)) {
    if (key.startsWith(":")) throw nodeError("ERR_HTTP2_PSEUDOHEADER_NOT_ALLOWED");
    throw nodeError("ERR_INVALID_HTTP_TOKEN", `Header name must be a valid HTTP token ["${key}"]`);
  }
  if (value === undefined || value === null) {
    throw nodeError("ERR_HTTP2_INVALID_HEADER_VALUE", `Invalid value for header "${key}"`);
  }
  if (key !== "connection" || value === "trailers") return true;
  warnOnce("connection", "HTTP/2 has no connection header: what it says is dropped");
  return false;
}

/** Of a list: pairs, or names and values in turn. */
export function fieldsOf(list: readonly unknown[]): Field[] {
  if (Array.isArray(list[0])) {
    return (list as Field[]).map(([name, value]) => [keyOf(name), value]);
  }
  if (list.length % 2 !== 0) {
    throw nodeError("ERR_INVALID_ARG_VALUE", "headers: a name without a value");
  }
  const fields: Field[] = [];
  for (let i = 0; i < list.length; i += 2) fields.push([keyOf(list[i] as string), list[i + 1]]);
  return fields;
}

const warned = new Set<string>();

export function warnOnce(about: "connection" | "status message", text: string): void {
  if (warned.has(about)) return;
  warned.add(about);
  process.emitWarning(text, "UnsupportedWarning");
}
