/**
 * The service `orders`, for one of two terminals: `node --conditions=inmesh-source examples/02-laptop/orders.ts`.
 * It says its name and nothing else; no port is chosen, and no address is written anywhere. Start it more than once.
 */
import { meshServer } from "inmesh";

const server = meshServer(
  (request, response) =>
    response.end(`order ${request.url?.slice(1)}, by process ${process.pid}\n`),
  { name: "orders", discoveryWaitMs: 200, log: ({ message }) => console.error(message) },
);
await server.listen();
process.once("SIGINT", () => void server.drain());
process.once("SIGTERM", () => void server.drain());
