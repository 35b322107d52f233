/** What Node's own messages throw, with its codes: applications ask for those. */

const MESSAGES = {
  ERR_HTTP2_HEADERS_SENT: "The head of this reply has been sent already",
  ERR_HTTP2_INFO_STATUS_NOT_ALLOWED: "An informational status is not the status of a reply",
  ERR_HTTP2_INVALID_STREAM: "The stream has been closed",
  ERR_HTTP2_NO_SOCKET_MANIPULATION:
    "The socket of an HTTP/2 connection belongs to its session: use the stream",
  ERR_HTTP2_PSEUDOHEADER_NOT_ALLOWED: "A pseudo-header cannot be set as a header",
  ERR_STREAM_WRITE_AFTER_END: "write after end",
} as const;

const RANGE: ReadonlySet<string> = new Set([
  "ERR_HTTP2_INFO_STATUS_NOT_ALLOWED",
  "ERR_HTTP2_STATUS_INVALID",
]);
const TYPE = /INVALID_ARG|INVALID_HTTP|HEADER_VALUE|PSEUDOHEADER/;

type Code =
  | keyof typeof MESSAGES
  | "ERR_HTTP2_INVALID_HEADER_VALUE"
  | "ERR_HTTP2_STATUS_INVALID"
  | "ERR_INVALID_ARG_TYPE"
  | "ERR_INVALID_ARG_VALUE"
  | "ERR_INVALID_HTTP_TOKEN";

export function nodeError(code: Code, message?: string): Error & { code: string } {
  const text = message ?? MESSAGES[code as keyof typeof MESSAGES];
  const Class = RANGE.has(code) ? RangeError : TYPE.test(code) ? TypeError : Error;
  return Object.assign(new Class(text), { code });
}

/** The error that requests over HTTP/1 get when their connection has gone. */
export function abortedError(): Error & { code: string } {
  return Object.assign(new Error("aborted"), { code: "ECONNRESET" });
}
