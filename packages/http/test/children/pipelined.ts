/** A server with one slow path, `bare` or ours, that says with every message how much memory it had at most. */
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { meshServer } from "@inmesh/http";

const kind = process.argv[2] as "bare" | "made" | "given";
const waiting: (() => void)[] = [];
const listener: RequestListener = (request, response) => {
  if (request.url === "/slow") waiting.push(() => response.end("slow"));
  else response.end("fast");
};
const bare = createServer(kind === "made" ? undefined : listener);
const server =
  kind === "bare"
    ? undefined
    : meshServer(kind === "given" ? bare : listener, { discoveryWaitMs: 0 });

let rss = 0;
setInterval(() => (rss = Math.max(rss, process.memoryUsage.rss())), 20);
process.on("message", (message) => {
  if (message === "close") void server?.close(20_000);
  if (message === "answer") for (const answer of waiting.splice(0)) answer();
  process.send!({ rss, waiting: waiting.length });
});
if (server === undefined) {
  bare.listen(0, "127.0.0.1", () => process.send!({ port: (bare.address() as AddressInfo).port }));
} else process.send!({ port: (await server.listen(0, "127.0.0.1")).port });
