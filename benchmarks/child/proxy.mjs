/**
 * A mesh-proxy with everything on in front of some addresses, from what is built: its memory is that of a program
 * that is installed. Says its port, and ends with its parent.
 */
import { createServer } from "node:net";
import { createMesh } from "@inmesh/core";
import { startProxy } from "mesh-proxy";

const mesh = createMesh({
  env: {},
  config: {
    services: {
      orders: {
        discovery: { static: process.argv.slice(2) },
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
const proxy = startProxy({ mesh, listeners: [{ name: "out", mode: "outbound" }] });
const server = createServer({ allowHalfOpen: true }, (socket) =>
  proxy.listeners[0].handle(socket, undefined, "http1"),
);
server.listen({ port: 0, host: "127.0.0.1", backlog: 2_048 }, () => {
  process.send({ port: server.address().port });
});
process.on("disconnect", () => process.exit());
