/** A server of the configuration check, forked. `/slow` takes 40 ms. Sends its port. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

const SLOW_MS = 40;

const server = createServer({ keepAliveTimeout: 65_000 }, (request, response) => {
  request.resume();
  request.once("end", () => {
    setTimeout(() => response.end("ok"), request.url === "/slow" ? SLOW_MS : 0);
  });
});
server.listen(0, "127.0.0.1");
await once(server, "listening");
process.send!((server.address() as AddressInfo).port);
process.once("disconnect", () => process.exit());
