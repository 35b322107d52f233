/** A proxy of the ecosystem of Node, in front of one address; says its port, and ends with its parent. */
import { Agent, createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

const [name, target] = process.argv.slice(2);
const agent = new Agent({ keepAlive: true, maxSockets: 64 });

/** What all of them have: `web(request, response)`. */
interface Peer {
  web(request: IncomingMessage, response: ServerResponse): unknown;
}
const options = { target: `http://${target}`, agent };

async function peer(): Promise<Peer> {
  if (name === "httpxy") {
    const { createProxyServer } = await import("httpxy");
    return createProxyServer(options);
  }
  const { createProxyServer } = await import("http-proxy-3");
  return createProxyServer(options);
}

const proxy = await peer();
const server = createServer((request, response) => void proxy.web(request, response));
server.listen({ port: 0, host: "127.0.0.1", backlog: 2_048 }, () => {
  process.send!({ port: (server.address() as AddressInfo).port });
});
process.on("disconnect", () => process.exit());
