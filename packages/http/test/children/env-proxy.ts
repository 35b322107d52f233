/** Started with NODE_USE_ENV_PROXY: asks a service and another host through `mesh.agent()`. */
import { once } from "node:events";
import { request, type IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { createMesh } from "@inmesh/http";

const mesh = createMesh({
  env: {},
  config: { services: { orders: { discovery: { static: [process.argv[2]!] } } } },
});
const said: string[] = [];
for (const url of ["http://orders/a?b=1", "http://outside.example/c?d=2"]) {
  const asked = request(url, { agent: mesh.agent() }).end();
  const [reply] = (await once(asked, "response")) as [IncomingMessage];
  said.push(await text(reply));
}
console.log(JSON.stringify(said));
await mesh.close();
process.exit();
