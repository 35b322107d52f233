/**
 * A mesh-proxy with everything on in front of some addresses, over HTTP/2 on both sides if the first argument is
 * `http2`, from what is built: its memory is that of a program that is installed. Says its port, and ends with
 * its parent.
 */
import { createServer } from "node:net";
import { createMesh } from "@inmesh/core";
import { startProxy } from "mesh-proxy";

const http2 = process.argv[2] === "http2";
const mesh = createMesh({
  env: {},
  config: {
    services: {
      orders: {
        http2,
        discovery: { static: process.argv.slice(http2 ? 3 : 2) },
        retry: { attempts: 2 },
        routes: [
          {
            name: "writes",
            matches: [{ path: { type: "PathPrefix", value: "/v1/write" } }],
            timeouts: { request: "5s" },
          },
          {
            name: "reads",
            matches: [{ path: { type: "PathPrefix", value: "/v1/" } }],
            timeouts: { request: "2s" },
          },
        ],
      },
    },
  },
});
const proxy = startProxy({
  mesh,
  listeners: [{ name: "out", mode: "outbound", ...(http2 && { service: "orders" }) }],
});
const server = createServer({ allowHalfOpen: true }, (socket) =>
  proxy.listeners[0].handle(socket, undefined, http2 ? "http2" : "http1"),
);
server.listen({ port: 0, host: "127.0.0.1", backlog: 2_048 }, () => {
  process.send({ port: server.address().port });
});
process.on("disconnect", () => process.exit());
