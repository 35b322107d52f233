/** What names of header fields may be made of, and which belong to a connection. A leaf. */

/** RFC 9110 §5.6.2. Methods are tokens too. */
export const TOKEN: RegExp = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** They belong to the connection or to the request line: who sets them means another request. */
export const CONNECTION_FIELDS: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);
