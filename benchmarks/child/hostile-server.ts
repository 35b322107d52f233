/**
 * An HTTP server under attack: argv is `mesh` or `bare`, and `http1` or `http2`. Its handlers are
 * the ordinary ones, chosen by the first letter of the path, and write down what they understood.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createServer2 } from "node:http2";
import type { AddressInfo, Server, Socket } from "node:net";
import { meshServer, type MeshServer } from "@inmesh/http";
import { LIMITS } from "../hostile/limits.ts";
import type { Seen } from "../hostile/strict-http1.ts";
import { peerName } from "../hostile/wire.ts";
import { ready, watched } from "./hostile-watched.ts";

const BIG = Buffer.alloc(262_144, "b");
const LATE_MS = 30;
const SLOW_MS = 4_000;
const MAX_SEEN = 50_000;
/** What was seen on connections is asked for a little after they ended; then it is forgotten. */
const KEPT_MS = 30_000;

const [side, protocol] = process.argv.slice(2);
const http2 = protocol === "http2";
const seen = new Map<string, Seen[]>();
const sockets = new Map<string, Socket>();
/** Replies in progress, with the names of their connections. */
const handling = new Map<ServerResponse, string>();

function nameOf({ remoteAddress, remotePort }: Socket): string {
  return peerName(remoteAddress, remotePort);
}

/** Fills in what the handler understands as it goes on. */
function note(request: IncomingMessage): (chunk: Buffer | undefined) => void {
  const hash = createHash("sha1");
  const authority = request.headers[":authority"] as string | undefined;
  const one = {
    method: request.method!,
    target: request.url!,
    host: authority ?? request.headers.host,
    bytes: 0,
    sha1: createHash("sha1").digest("base64"),
    whole: false,
  };
  const list = seen.get(nameOf(request.socket));
  if (list !== undefined && list.length < MAX_SEEN) list.push(one);
  return (chunk) => {
    // Bare Node says `end` of a cut body over HTTP/2 as well, with `aborted` set. The mesh must not.
    if (chunk === undefined) one.whole = mesh !== undefined || !request.aborted;
    else {
      one.bytes += chunk.length;
      one.sha1 = hash.update(chunk).copy().digest("base64");
    }
  };
}

function answer(request: IncomingMessage, response: ServerResponse): void {
  response.setHeader("x-handler", "yes");
  response.end(`${request.method} ${request.url}`);
}

type Handler = (
  request: IncomingMessage,
  response: ServerResponse,
  read: ReturnType<typeof note>,
) => void;

const collect: Handler = (request, response, read) => {
  request.on("data", read);
  request.on("end", () => {
    read(undefined);
    answer(request, response);
  });
};
const HANDLERS: Readonly<Record<string, Handler>> = {
  c: collect,
  // Reads as most code does today.
  a(request, response, read) {
    const run = async (): Promise<void> => {
      try {
        for await (const chunk of request) read(chunk as Buffer);
        read(undefined);
      } catch {
        return; // a body that was cut
      }
      answer(request, response);
    };
    void run();
  },
  // Answers late, and has not read.
  l(request, response) {
    setTimeout(() => answer(request, response), LATE_MS);
  },
  // The same, so late that much can come before.
  s(request, response) {
    setTimeout(() => answer(request, response), SLOW_MS);
  },
  // Answers at once, and does not read.
  e: answer,
  // More than a reader takes at once.
  b(request, response) {
    response.setHeader("x-handler", "yes");
    for (let i = 0; i < 8; i++) response.write(BIG);
    response.end(request.url);
  },
  // Sends back what it reads.
  p(request, response, read) {
    request.on("data", read);
    request.on("end", () => read(undefined));
    request.on("error", () => {});
    response.setHeader("x-handler", "yes");
    request.pipe(response);
  },
};

function handle(request: IncomingMessage, response: ServerResponse): void {
  handling.set(response, nameOf(request.socket));
  const over = (): void => void handling.delete(response);
  response.once("close", over);
  // A reply that is done lets its request go.
  response.once("finish", over);
  request.on("error", () => {});
  response.on("error", () => {});
  const handler = HANDLERS[/^\/([a-z])(?:[/?]|$)/.exec(request.url!)?.[1] ?? "c"] ?? collect;
  handler(request, response, note(request));
}

let mesh: MeshServer | undefined;
let server: Server;
if (side === "mesh") {
  mesh = meshServer(handle, {
    http2,
    limits: LIMITS,
    health: false,
    discoveryWaitMs: 10,
    idleWaitMs: 100,
  });
  ({ server } = mesh);
} else if (http2) {
  const bare = createServer2(handle as never);
  bare.setTimeout(LIMITS.keepAliveIdleMs);
  bare.on("sessionError", () => {});
  server = bare;
} else {
  server = createServer(
    {
      headersTimeout: LIMITS.headersTimeoutMs,
      requestTimeout: 3_000,
      connectionsCheckingInterval: LIMITS.headersCheckMs,
      keepAliveTimeout: LIMITS.keepAliveIdleMs,
    },
    handle,
  );
}
server.on("connection", (socket) => {
  const name = nameOf(socket);
  seen.set(name, []);
  sockets.set(name, socket);
  socket.once("close", () => {
    sockets.delete(name);
    setTimeout(() => seen.delete(name), KEPT_MS).unref();
  });
});
server.listen(0, "127.0.0.1", () => ready((server.address() as AddressInfo).port));

watched({
  seen: (name: string) => ({ seen: seen.get(name) ?? [], open: sockets.has(name) }),
  "is-open": (name: string) => ({ open: sockets.has(name) }),
  open: () => ({
    handling: handling.size,
    peers: [...new Set(handling.values())],
    inFlight: mesh?.snapshot().requestsInFlight ?? 0,
    connections: sockets.size,
  }),
  refused: () => mesh?.snapshot().refused ?? {},
  close: async () => {
    if (mesh === undefined) server.close();
    else await mesh.close(1_000);
    return true;
  },
});
