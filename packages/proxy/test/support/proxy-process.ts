/** A proxy in a process of its own, in front of the addresses that it is given; says its port. */
import { createServer, type AddressInfo } from "node:net";
import { createMesh } from "@inmesh/core";
import { startProxy } from "../../src/index.ts";

const mesh = createMesh({
  env: {},
  config: { services: { orders: { discovery: { static: process.argv.slice(2) } } } },
});
const proxy = startProxy({ mesh, listeners: [{ name: "out", mode: "outbound" }] });
const server = createServer({ allowHalfOpen: true }, (socket) =>
  proxy.listeners[0]!.handle(socket, undefined, "http1"),
);
server.listen(0, "127.0.0.1", () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});
