/** Status lines of HTTP/1.1, made once for each status. */

/** Not by `import`, which reads every member of the module: that loads fetch, and with it node:http2 and node:tls. */
const { STATUS_CODES } = process.getBuiltinModule("node:http");
const lines: string[] = [];

/** With the phrase of RFC 9110: what a server wrote there says nothing to a program. */
export function statusLine(status: number): string {
  return (lines[status] ??= `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n`);
}
