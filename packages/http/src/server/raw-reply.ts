/** An answer where there is no response to write it: byte by byte Node's own, the last on its connection. */
import { NODE_HTTP } from "./listeners.ts";

export function closingReply(status: number): string {
  return `HTTP/1.1 ${status} ${NODE_HTTP.STATUS_CODES[status]}\r\nConnection: close\r\n\r\n`;
}
