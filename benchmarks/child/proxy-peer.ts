/** A proxy of the ecosystem of Node, in front of one address; says its port, and ends with its parent. */
import {
  Agent,
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";

const [name, target] = process.argv.slice(2);
const upstream = `http://${target}`;
const listening = { port: 0, host: "127.0.0.1", backlog: 2_048 };

/** What proxies that stand on `node:http` on both sides have. */
interface WebProxy {
  web(request: IncomingMessage, response: ServerResponse): unknown;
}

/** Behind one that is handed each request. */
async function behind(proxy: WebProxy): Promise<Server> {
  const server = createServer((request, response) => void proxy.web(request, response));
  await new Promise<void>((resolve) => server.listen(listening, resolve));
  return server;
}

async function peer(): Promise<Server> {
  const options = { target: upstream, agent: new Agent({ keepAlive: true, maxSockets: 64 }) };
  switch (name) {
    case "httpxy": {
      const { createProxyServer } = await import("httpxy");
      return behind(createProxyServer(options));
    }
    case "http-proxy-3": {
      const { createProxyServer } = await import("http-proxy-3");
      return behind(createProxyServer(options));
    }
    case "@fastify/http-proxy": {
      const { fastify } = await import("fastify");
      const { fastifyHttpProxy } = await import("@fastify/http-proxy");
      const app = fastify();
      await app.register(fastifyHttpProxy, { upstream, undici: { connections: 64 } });
      await app.listen(listening);
      return app.server;
    }
    default:
      throw new Error(`no proxy ${name}`);
  }
}

const server = await peer();
process.send!({ port: (server.address() as AddressInfo).port });
process.on("disconnect", () => process.exit());
