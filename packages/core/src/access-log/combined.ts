/**
 * The Combined Log Format (https://httpd.apache.org/docs/2.4/logs.html#combined). Of the fields that it has, two are
 * always `-`: the identity of RFC 1413, and the user, which is the application's to know. The status of gRPC is
 * in its trailers, so its calls have the 200 that was sent.
 */
import type { EndedRequest } from "../observe/observer.ts";
import { isoTime } from "../runtime/wall-text.ts";
import { quoted, shown } from "./shown.ts";

const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

export function combinedLine(request: EndedRequest, wallMs: number, showsQuery: boolean): string {
  const { peer, method, path, query, httpVersion, protocol, status, sentBytes } = request;
  const target = query === "" || !showsQuery ? path : `${path}?${query}`;
  const code = status === undefined ? "-" : protocol === "grpc" ? 200 : status;
  const host = shown(peer.address) ?? "-";
  const first = quoted(`${method} ${target} HTTP/${httpVersion}`);
  const referer = quoted(request.header("referer") ?? "-");
  const agent = quoted(request.header("user-agent") ?? "-");
  return `${host} - - [${written(wallMs)}] ${first} ${code} ${sentBytes ?? "-"} ${referer} ${agent}\n`;
}

/** `10/Oct/2000:13:55:36 +0000` */
function written(wallMs: number): string {
  const [date = "", time = ""] = isoTime(wallMs).split("T");
  const [year, month, day] = date.split("-");
  return `${day}/${MONTHS[Number(month) - 1]}/${year}:${time.slice(0, 8)} +0000`;
}
