/**
 * One server of the demo, as a process of its own: plain node:http that stops as badly as most
 * services do. On SIGTERM it exits at once, with requests in progress and connections open. A
 * healthy answer takes 5 ms + exponential 5 ms. Every POST is reported to the parent before it is
 * answered, so that the count by request id survives this process's death.
 */
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";

export type Mode = "healthy" | "slow" | "failing";
export type FromServer =
  | { readonly type: "listening" }
  | { readonly type: "busy" }
  | { readonly type: "post"; readonly id: string };

export const SLOW_FACTOR = 20;
export const FAIL_SHARE = 0.3;
const BASE_MS = 5;

function serve(port: number): void {
  let mode: Mode = "healthy";
  const report = (message: FromServer): void => {
    process.send?.(message);
  };
  const server = createServer((request, response) => {
    if (request.method === "POST") {
      report({ type: "post", id: String(request.headers["x-request-id"]) });
    }
    request.resume();
    if (mode === "failing" && Math.random() < FAIL_SHARE) {
      response.writeHead(500, { "content-type": "text/plain" }).end("broken\n");
      return;
    }
    const healthyMs = BASE_MS - BASE_MS * Math.log(1 - Math.random());
    const ms = mode === "slow" ? healthyMs * SLOW_FACTOR : healthyMs;
    setTimeout(() => {
      response.writeHead(200, { "content-type": "text/plain" }).end("fine\n");
    }, ms);
  });
  server.once("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EADDRINUSE") throw error;
    process.send?.({ type: "busy" } satisfies FromServer, () => process.exit(1));
  });
  server.listen(port, "127.0.0.1", () => report({ type: "listening" }));
  process.on("message", (message) => {
    mode = message as Mode;
  });
  process.once("SIGTERM", () => process.exit(0));
  process.on("SIGINT", () => {}); // Ctrl-C goes to the whole group; the parent decides when we end.
  process.once("disconnect", () => process.exit(0)); // The parent is gone, however it went.
}

if (process.argv[1] === fileURLToPath(import.meta.url)) serve(Number(process.argv[2]));
