/**
 * The servers of the HTTP benchmark, forked: argv is how many ports to listen on. Sends `{ ports }`,
 * and `{ served }`, the requests since the last asking, to any message.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

const BODY = '{"order":1,"state":"paid"}';
const HEAD = { "content-type": "application/json", "content-length": String(BODY.length) };
const ports: number[] = [];
let served = 0;

for (let i = 0; i < Number(process.argv[2]); i++) {
  const server = createServer({ keepAliveTimeout: 60_000 }, (_request, response) => {
    served++;
    response.writeHead(200, HEAD);
    response.end(BODY);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  ports.push((server.address() as AddressInfo).port);
}
process.send!({ ports });
process.on("message", () => {
  process.send!({ served });
  served = 0;
});
process.on("disconnect", () => process.exit());
