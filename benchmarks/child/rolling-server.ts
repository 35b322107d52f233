/**
 * One server of the rolling restart, as a process of its own. It answers four kinds of request,
 * reports every POST by its id before it answers, and stops on SIGTERM: well, if it is wrapped by
 * meshServer, or as a plain server does, which closes its idle connections at once.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { meshServer } from "inmesh";
import type { FromServer, ServerOptions } from "../fleet.ts";
import { CHUNK_BYTES, CHUNK_EVERY_MS, CHUNKS } from "./rolling-work.ts";

export interface RollingServer extends ServerOptions {
  readonly http2: boolean;
}

const WORK_MS = 2;
const REPORT_EVERY_MS = 50;
const CHUNK = Buffer.alloc(CHUNK_BYTES, "x");

const options = JSON.parse(process.argv[2]!) as RollingServer;
let posts: string[] = [];

function report(done?: () => void): void {
  if (posts.length === 0) return done?.();
  const message: FromServer = { ids: posts };
  posts = [];
  process.send!(message, undefined, undefined, () => done?.());
}

function handle(request: IncomingMessage, response: ServerResponse): void {
  if (request.method === "POST") posts.push(String(request.headers["x-request-id"]));
  if (request.url === "/download") return download(response);
  let bytes = 0;
  request.on("data", (chunk: Buffer) => (bytes += chunk.length));
  request.on("end", () => setTimeout(() => response.end(String(bytes)), WORK_MS));
}

function download(response: ServerResponse): void {
  let sent = 0;
  const next = (): void => {
    if (response.destroyed) return;
    if (sent++ === CHUNKS) response.end();
    else {
      response.write(CHUNK);
      setTimeout(next, CHUNK_EVERY_MS);
    }
  };
  next();
}

function leave(): void {
  report(() => process.exit(0));
}

setInterval(report, REPORT_EVERY_MS).unref();
process.once("disconnect", () => process.exit(0));
const listening = (): void => void process.send!({ listening: options.port });
if (options.wrapped) {
  const server = meshServer(handle, {
    posture: "mesh",
    http2: options.http2,
    discoveryWaitMs: 100,
  });
  void server.listen(options.port, "127.0.0.1").then(listening);
  process.once("SIGTERM", () => void server.drain().then(leave));
} else {
  const server = createServer(handle);
  server.listen(options.port, "127.0.0.1", listening);
  process.once("SIGTERM", () => server.close(leave));
}
