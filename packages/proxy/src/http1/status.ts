/** Status lines of HTTP/1.1, made once for each status. */
import { STATUS_CODES } from "node:http";

const lines: string[] = [];

/** With the phrase of RFC 9110: what a server wrote there says nothing to a program. */
export function statusLine(status: number): string {
  return (lines[status] ??= `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n`);
}
