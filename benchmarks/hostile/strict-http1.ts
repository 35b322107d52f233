/**
 * An independent strict reader of HTTP/1 requests (RFC 9112, and the table of what must be refused):
 * which requests a sequence of bytes holds, and nothing about how to answer them. It shares no code
 * with the server under test. It stops at the first byte that a strict reader may not understand.
 */
import { createHash } from "node:crypto";

export interface Understood {
  readonly method: string;
  readonly target: string;
  readonly host: string | undefined;
  /** What came of the body. */
  readonly body: Buffer;
  /** The body has come to its end. */
  readonly whole: boolean;
}

/** As a server under test tells what its handler got. */
export interface Seen {
  readonly method: string;
  readonly target: string;
  readonly host: string | undefined;
  readonly bytes: number;
  readonly sha1: string;
  /** The handler read the body to its end. */
  readonly whole: boolean;
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/; // eslint-disable-line no-control-regex
const HOST = /^(?:\[[0-9a-f:.]+\]|[a-z0-9\-._~!$&'()*+,;=%]+)(?::\d{1,5})?$/i;
const ABSOLUTE = /^http:\/\/([^/?#@]+)(\/[^#]*|\?[^#]*)?$/i;

export function readRequests(bytes: Buffer): Understood[] {
  const text = bytes.toString("latin1");
  const found: Understood[] = [];
  let at = 0;
  for (;;) {
    // Tolerated, because Node's parser leaves no trace of them: line ends before a request.
    while (text[at] === "\r" || text[at] === "\n") at++;
    const headEnd = text.indexOf("\r\n\r\n", at);
    if (headEnd < 0) return found;
    const head = readHead(text.slice(at, headEnd));
    if (head === undefined) return found;
    const { method, target, host, length, last } = head;
    const start = headEnd + 4;
    const body = length === "chunked" ? readChunks(text, start) : readLength(text, start, length);
    found.push({
      method,
      target,
      host,
      body: Buffer.from(body.content, "latin1"),
      whole: body.end !== undefined,
    });
    if (body.end === undefined || last) return found;
    at = body.end;
  }
}

interface Head {
  readonly method: string;
  readonly target: string;
  readonly host: string | undefined;
  readonly length: number | "chunked";
  /** Nothing follows it. */
  readonly last: boolean;
}

function readHead(head: string): Head | undefined {
  const [line = "", ...fields] = head.split("\r\n");
  const request = /^([^ ]+) +([\x21-\x7e]+) +HTTP\/1\.([01]) *$/.exec(line);
  if (request === null) return undefined;
  const [, method = "", target = "", minor = ""] = request;
  if (!TOKEN.test(method) || method === "CONNECT" || method === "TRACE") return undefined;
  const values = new Map<string, string[]>();
  for (const field of fields) {
    const colon = field.indexOf(":");
    const name = field.slice(0, colon);
    const value = field.slice(colon + 1);
    if (colon < 1 || !TOKEN.test(name) || !VALUE.test(value)) return undefined;
    const key = name.toLowerCase();
    values.set(key, [...(values.get(key) ?? []), value.replace(/^[ \t]+|[ \t]+$/g, "")]);
  }
  const hosts = values.get("host") ?? [];
  if (hosts.length > 1 || (hosts.length === 0 && minor === "1")) return undefined;
  const [host] = hosts;
  if (host !== undefined && !HOST.test(host)) return undefined;
  const where = readTarget(method, target, host);
  const length = readFraming(values, minor);
  if (where === undefined || length === undefined) return undefined;
  const connection = (values.get("connection") ?? []).join(",").toLowerCase();
  const tokens = new Set(connection.split(",").map((token) => token.trim()));
  const last = tokens.has("close") || (minor === "0" && !tokens.has("keep-alive"));
  return { method, ...where, length, last };
}

function readTarget(
  method: string,
  target: string,
  host: string | undefined,
): Pick<Head, "target" | "host"> | undefined {
  if (target === "*") return method === "OPTIONS" ? { target, host } : undefined;
  if (target.startsWith("/")) return target.includes("#") ? undefined : { target, host };
  const [, authority, rest = "/"] = ABSOLUTE.exec(target) ?? [];
  if (authority === undefined || !HOST.test(authority)) return undefined;
  return { target: rest.startsWith("/") ? rest : `/${rest}`, host: authority };
}

function readFraming(
  values: ReadonlyMap<string, readonly string[]>,
  minor: string,
): number | "chunked" | undefined {
  const lengths = values.get("content-length") ?? [];
  const codings = values.get("transfer-encoding") ?? [];
  if (codings.length > 0) {
    const alone = codings.length === 1 && lengths.length === 0 && minor === "1";
    return alone && codings[0]!.toLowerCase() === "chunked" ? "chunked" : undefined;
  }
  if (lengths.length === 0) return 0;
  const length = Number(lengths[0]);
  const good = lengths.length === 1 && /^\d+$/.test(lengths[0]!) && Number.isSafeInteger(length);
  return good ? length : undefined;
}

interface Body {
  readonly content: string;
  /** Undefined: not whole, or wrong from here on. */
  readonly end: number | undefined;
}

function readLength(text: string, start: number, length: number): Body {
  const end = start + length;
  return { content: text.slice(start, end), end: end <= text.length ? end : undefined };
}

const CHUNK = /([0-9a-fA-F]{1,16})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n/y; // eslint-disable-line no-control-regex

function readChunks(text: string, start: number): Body {
  const parts: string[] = [];
  let at = start;
  for (;;) {
    CHUNK.lastIndex = at;
    const match = CHUNK.exec(text);
    const content = (): string => parts.join("");
    if (match === null) return { content: content(), end: undefined };
    const size = Number.parseInt(match[1]!, 16);
    at += match[0].length;
    if (size === 0) return { content: content(), end: trailersEnd(text, at) };
    parts.push(text.slice(at, at + size));
    if (!text.startsWith("\r\n", at + size)) return { content: content(), end: undefined };
    at += size + 2;
  }
}

function trailersEnd(text: string, start: number): number | undefined {
  if (text.startsWith("\r\n", start)) return start + 2;
  const end = text.indexOf("\r\n\r\n", start);
  if (end < 0) return undefined;
  for (const field of text.slice(start, end).split("\r\n")) {
    const colon = field.indexOf(":");
    const name = field.slice(0, colon).toLowerCase();
    if (colon < 1 || !TOKEN.test(name) || !VALUE.test(field.slice(colon + 1))) return undefined;
    if (name === "content-length" || name === "transfer-encoding") return undefined;
  }
  return end + 4;
}

/**
 * Why what a server understood is not what the reader understood; undefined: it is. A server may
 * understand less: it refuses, or was not yet there. It may understand nothing else, and nothing twice.
 */
export function disagreement(
  seen: readonly Seen[],
  understood: readonly Understood[],
): string | undefined {
  let at = 0;
  for (const [i, one] of seen.entries()) {
    while (at < understood.length && !agree(one, understood[at]!)) at++;
    if (at === understood.length) {
      const { method, target, bytes, whole } = one;
      return `request ${i + 1} of ${seen.length}, ${method} ${target.slice(0, 60)} with ${bytes} bytes${whole ? "" : ", cut"}, is none of the ${understood.length} that a strict reader finds`;
    }
    at++;
  }
  return undefined;
}

function agree(seen: Seen, { method, target, host, body, whole }: Understood): boolean {
  if (seen.method !== method || seen.target !== target || seen.host !== host) return false;
  if (seen.bytes > body.length || (seen.whole && !(whole && seen.bytes === body.length)))
    return false;
  return seen.sha1 === sha1(body.subarray(0, seen.bytes));
}

export function sha1(bytes: Uint8Array): string {
  return createHash("sha1").update(bytes).digest("base64");
}
