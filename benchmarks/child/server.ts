/**
 * One server of the server benchmark in a fresh process, forked: argv is `bare` or `mesh`, then the
 * HTTP version. Sends `{ port }`; then, for each message, the CPU time since the one before (the
 * whole process's, all threads, user and system) and the requests served meanwhile.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createServer2 } from "node:http2";
import type { AddressInfo } from "node:net";
import { meshServer } from "@inmesh/http";

export interface Served {
  readonly cpuUs: number;
  readonly requests: number;
}

const BODY = '{"order":1,"state":"paid"}';
const HEAD = { "content-type": "application/json", "content-length": String(BODY.length) };
let requests = 0;

/** The core API of both versions, used the same way. */
function handler(_request: IncomingMessage, response: ServerResponse): void {
  requests++;
  response.writeHead(200, HEAD);
  response.end(BODY);
}

const [kind, version] = process.argv.slice(2);
const http2 = version === "2";
const server =
  kind === "mesh"
    ? meshServer(handler, { http2 }).server
    : http2
      ? createServer2(handler as never)
      : createServer({ keepAliveTimeout: 65_000 }, handler);
server.listen(0, "127.0.0.1");
await once(server, "listening");
process.send!({ port: (server.address() as AddressInfo).port });

let before = process.cpuUsage();
process.on("message", () => {
  const { user, system } = process.cpuUsage(before);
  process.send!({ cpuUs: user + system, requests } satisfies Served);
  requests = 0;
  before = process.cpuUsage();
});
process.on("disconnect", () => process.exit());
