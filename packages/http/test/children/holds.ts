/** A server whose handler holds the thread for as many milliseconds as the path says; tells what it did. */
import { meshServer } from "@inmesh/http";

const log: unknown[] = [];
let busyMs = 0;
const server = meshServer(
  (request, response) => {
    const begunAt = performance.now();
    while (performance.now() < begunAt + Number(request.url!.slice(1)));
    busyMs += performance.now() - begunAt;
    response.end("ok");
  },
  {
    name: "orders",
    limits: { maxLoopDelayMs: Number(process.argv[2]) },
    log: (line) => void log.push(line),
  },
);
process.on("message", () => process.send!({ log, busyMs, snapshot: server.snapshot() }));
process.on("disconnect", () => process.exit());
const { port } = await server.listen(0, "127.0.0.1");
process.send!({ port });
