/**
 * The server of the benchmark of load shedding, forked: argv says whether it is `bare` or `mesh`. A
 * request for `/<io>/<cpu>` waits so many milliseconds, and then holds the thread for so many: by the
 * clock, so that its capacity is the same however busy the machine is. Sends `{ port }` when it listens.
 */
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { meshServer } from "@inmesh/http";

const handler: RequestListener = (request, response) => {
  const [, ioMs = "0", cpuMs = "0"] = request.url!.split("/");
  const work = (): void => {
    const endsAt = performance.now() + Number(cpuMs);
    while (performance.now() < endsAt);
    response.end("ok");
  };
  if (ioMs === "0") work();
  else setTimeout(work, Number(ioMs));
};

const server: Server =
  process.argv[2] === "mesh" ? (meshServer(handler).server as Server) : createServer(handler);
server.listen(0, "127.0.0.1", () => {
  process.send!({ port: (server.address() as AddressInfo).port });
});
process.on("disconnect", () => process.exit());
