/**
 * One server of the server benchmark in a fresh process, forked: argv is `bare`, `mesh`, `public_only`
 * (a mesh whose parent has switched the private members off) or `layers3`, then the HTTP version. Sends `{ port }`, then what served.ts does.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createServer2 } from "node:http2";
import type { AddressInfo } from "node:net";
import { meshServer, refusal, type ServerLayer } from "@inmesh/http";
import { tellServed } from "./served.ts";

const BODY = '{"order":1,"state":"paid"}';
const HEAD = { "content-type": "application/json", "content-length": String(BODY.length) };
const served = tellServed();

/** The core API of both versions, used the same way. */
function handler(_request: IncomingMessage, response: ServerResponse): void {
  served();
  response.writeHead(200, HEAD);
  response.end(BODY);
}

const [kind, version] = process.argv.slice(2);
const http2 = version === "2";
/** Reads the request, as an access rule does, and lets it pass. */
const denied = refusal({ code: "permission_denied", reason: "trace" });
const layer: ServerLayer = (inner) => (request) =>
  request.method === "TRACE" ? denied : inner(request);
const serverLayers = kind === "layers3" ? [layer, layer, layer] : [];
const server =
  kind !== "bare"
    ? meshServer(handler, { http2, serverLayers }).server
    : http2
      ? createServer2(handler as never)
      : createServer({ keepAliveTimeout: 65_000 }, handler);
server.listen(0, "127.0.0.1");
await once(server, "listening");
process.send!({ port: (server.address() as AddressInfo).port });
