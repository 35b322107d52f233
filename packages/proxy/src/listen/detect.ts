/**
 * What is spoken on a connection, from its first bytes: HTTP/2 by its preface (RFC 9113 §3.4), TLS by its ClientHello,
 * HTTP/1 by its request line (RFC 9112 §3), and TCP if it can be none of them. What begins like one of them and is not
 * here as a whole waits for more, so that a client that sends byte by byte is not taken for another one.
 */
import type { Detected } from "./accepted.ts";
import { beginsTls, MAX_CLIENT_HELLO_BYTES, readClientHello } from "./client-hello.ts";

/** What is kept of a connection until it is decided; with as much as this it is. */
export const MAX_DETECT_BYTES: number = MAX_CLIENT_HELLO_BYTES + 1_024;

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
const MAX_METHOD_BYTES = 32;
/** A request line of another protocol's shape is looked for its end up to here. */
const MAX_LINE_BYTES = 8_192;
/** RFC 9110 §5.6.2. */
const METHOD = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** These are the words of no other protocol's first line that goes on with a target of HTTP. */
const KNOWN_METHODS: ReadonlySet<string> = new Set([
  "CONNECT",
  "DELETE",
  "GET",
  "HEAD",
  "OPTIONS",
  "PATCH",
  "POST",
  "PUT",
  "TRACE",
]);
const SPACE = 0x20;
const LF = 0x0a;
const CR = 0x0d;
/** RFC 9112 §2.2: a server should ignore at least one before a request. */
const MAX_EMPTY_LINES = 4;

export interface Detection {
  readonly protocol: Detected;
  /** Of TLS, if the hello has one. */
  readonly serverName?: string | undefined;
}

const HTTP1: Detection = { protocol: "http1" };
const HTTP2: Detection = { protocol: "http2" };
const TCP: Detection = { protocol: "tcp" };
const NAMELESS_TLS: Detection = { protocol: "tls", serverName: undefined };

/** Undefined: it cannot be said yet. With `MAX_DETECT_BYTES` it always can. */
export function detect(bytes: Buffer): Detection | undefined {
  if (bytes.length === 0) return undefined;
  if (bytes[0] === CR) return behindEmptyLines(bytes);
  if (beginsTls(bytes)) return detectTls(bytes);
  const shared = Math.min(bytes.length, PREFACE.length);
  if (bytes.compare(PREFACE, 0, shared, 0, shared) === 0) {
    return bytes.length < PREFACE.length ? undefined : HTTP2;
  }
  return detectHttp1(bytes);
}

function textOf(bytes: Buffer, from: number, to: number): string {
  return bytes.toString("latin1", from, to);
}

function detectTls(bytes: Buffer): Detection | undefined {
  const hello = readClientHello(bytes);
  if (hello === "wrong") return TCP;
  if (hello !== "more") return { protocol: "tls", serverName: hello.serverName };
  return bytes.length < MAX_DETECT_BYTES ? undefined : NAMELESS_TLS;
}

function behindEmptyLines(bytes: Buffer): Detection | undefined {
  let at = 0;
  for (let lines = 0; bytes[at] === CR && lines < MAX_EMPTY_LINES; lines++) {
    if (at + 1 === bytes.length) return undefined;
    if (bytes[at + 1] !== LF) return TCP;
    at += 2;
  }
  if (at === bytes.length) return undefined;
  return detectHttp1(bytes.subarray(at));
}

function detectHttp1(bytes: Buffer): Detection | undefined {
  const start = bytes.subarray(0, MAX_METHOD_BYTES + 1);
  const space = start.indexOf(SPACE);
  const method = textOf(start, 0, space < 0 ? start.length : space);
  if (!METHOD.test(method) || method.length > MAX_METHOD_BYTES) return TCP;
  if (space < 0) return undefined;
  if (KNOWN_METHODS.has(method)) {
    const target = textOf(bytes, space + 1, space + 8);
    if (target === "") return undefined;
    // Paths, `*` and absolute forms; what comes behind CONNECT is a host.
    if (method === "CONNECT" || /^(?:\/|\*|https?:)/i.test(target)) return HTTP1;
    if (target.length < 6 && "https:".startsWith(target.toLowerCase())) return undefined;
  }
  // `SET key value` of Redis and `MAIL FROM:` of SMTP look like a method until their line ends.
  const end = bytes.subarray(0, MAX_LINE_BYTES).indexOf(LF);
  if (end < 0) return bytes.length < MAX_LINE_BYTES ? undefined : TCP;
  return / HTTP\/1\.\d\r?$/.test(textOf(bytes, space, end)) ? HTTP1 : TCP;
}
