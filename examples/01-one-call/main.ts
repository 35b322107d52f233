/** One server, one call: run with `node --conditions=inmesh-source examples/01-one-call/main.ts`. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createMesh, meshClient } from "inmesh";

const server = createServer((_, response) => response.end("hello")).listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
const { port } = server.address() as AddressInfo;

const mesh = createMesh();
const reply = await meshClient(`http://127.0.0.1:${port}`, { mesh }).fetch("/");
process.stdout.write(`${reply.status} ${await reply.text()}: ${reply.mesh.why}\n`);
await mesh.close();
server.close();
