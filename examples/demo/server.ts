/**
 * One server of the demo, as a process of its own: plain node:http that stops as badly as most
 * services do. On SIGTERM it exits at once, with requests in progress and connections open. With
 * `graceful` it is the same handler in meshServer, which drains first, and trouble is a refusal
 * before any work instead of a 500. A healthy answer takes 5 ms + exponential 5 ms. Every POST is
 * reported to the parent before it is answered, so that the count by request id survives this
 * process's death.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { fileURLToPath } from "node:url";
import { meshServer } from "inmesh";

export type Mode = "healthy" | "slow" | "failing";
export type FromServer =
  | { readonly type: "listening" }
  | { readonly type: "busy" }
  | { readonly type: "post"; readonly id: string };

export const SLOW_FACTOR = 20;
export const FAIL_SHARE = 0.3;
const BASE_MS = 5;

/** The list is fixed, and the client sees for itself; where there is a registry, it says so within 100 ms. */
const DISCOVERY_WAIT_MS = 150;
/** At this load a connection that was idle so long stays idle. */
const IDLE_WAIT_MS = 300;

function serve(port: number, graceful: boolean): void {
  let mode: Mode = "healthy";
  const report = (message: FromServer): void => {
    process.send?.(message);
  };
  const fail = (response: ServerResponse): void => {
    if (graceful) response.setHeader("retry-after", "1");
    response.writeHead(graceful ? 503 : 500, { "content-type": "text/plain" }).end("broken\n");
  };
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    request.resume();
    const failing = mode === "failing" && Math.random() < FAIL_SHARE;
    if (failing && graceful) return fail(response); // before any work
    if (request.method === "POST") {
      report({ type: "post", id: String(request.headers["x-request-id"]) });
    }
    if (failing) return fail(response);
    const healthyMs = BASE_MS - BASE_MS * Math.log(1 - Math.random());
    const ms = mode === "slow" ? healthyMs * SLOW_FACTOR : healthyMs;
    setTimeout(() => {
      response.writeHead(200, { "content-type": "text/plain" }).end("fine\n");
    }, ms);
  };
  const wrapped = graceful
    ? meshServer(handle, {
        // Under this name it is announced, where INMESH_REGISTRY says so.
        name: "orders",
        // Only the mesh calls it: what callers say of deadlines and attempts is believed.
        posture: "mesh",
        discoveryWaitMs: DISCOVERY_WAIT_MS,
        idleWaitMs: IDLE_WAIT_MS,
      })
    : undefined;
  const server = wrapped?.server ?? createServer(handle);
  server.once("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EADDRINUSE") throw error;
    process.send?.({ type: "busy" } satisfies FromServer, () => process.exit(1));
  });
  server.listen(port, "127.0.0.1", () => report({ type: "listening" }));
  process.on("message", (message) => {
    mode = message as Mode;
  });
  // The one line that connects the signal with the drain.
  process.once(
    "SIGTERM",
    () => void (wrapped?.drain() ?? Promise.resolve()).then(() => process.exit(0)),
  );
  process.on("SIGINT", () => {}); // Ctrl-C goes to the whole group; the parent decides when we end.
  process.once("disconnect", () => process.exit(0)); // The parent is gone, however it went.
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  serve(Number(process.argv[2]), process.argv[3] === "graceful");
}
