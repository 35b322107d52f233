/**
 * Where the mesh stands: between Node, which emits `request`, and the listeners of the server. The
 * listeners stay the server's own, and Node's `emit` calls them: with the server as `this`, `once` once,
 * those that were added later too, and with what `captureRejections` makes of a rejected promise. A
 * server that cannot be served like this is refused with a sentence, at start or when its listener comes.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { NODE_HTTP, type NodeServer } from "./listeners.ts";

type Emit = (event: string | symbol, ...args: unknown[]) => boolean;

/** Gives the request to `next` if it is to be served. `asksToContinue`: it waits for a 100, and no listener sends one. */
export type Guard = (
  request: IncomingMessage,
  response: ServerResponse,
  next: RequestListener,
  asksToContinue: boolean,
) => void;

/** Throws a TypeError for a server whose listeners the mesh cannot stand before. */
export function guardRequests(server: NodeServer, guard: Guard): void {
  if ("updateSettings" in server) refuseUnservable(server);
  const emit = server.emit as Emit;
  const serve: RequestListener = (request, response) => {
    if (!emit.call(server, "request", request, response)) notFound(response);
  };
  const serveContinue: RequestListener = (request, response) =>
    void emit.call(server, "checkContinue", request, response);
  // With a listener, Node leaves the 100 to us: a body is asked for when it is going to be read.
  server.on("checkContinue", nothing);
  // … and does not refuse other expectations itself, past everything that counts.
  server.on("checkExpectation", nothing);
  const guarded: Emit = (event, ...args) => {
    switch (event) {
      case "request":
      case "checkContinue":
      case "checkExpectation":
        break;
      default:
        return emit.call(server, event, ...args);
    }
    const request = args[0] as IncomingMessage;
    const response = args[1] as ServerResponse;
    if (event !== "checkContinue") guard(request, response, serve, false);
    else if (server.listenerCount("checkContinue") > 1) {
      guard(request, response, serveContinue, false);
    } else guard(request, response, serve, true);
    return true;
  };
  server.emit = guarded as typeof server.emit;
}

/** For servers that speak HTTP/2, now and with every listener that is added. */
function refuseUnservable(server: NodeServer): void {
  // With its first `request` listener Node adds one to `stream`, which makes requests of streams.
  const before = server.listenerCount("stream");
  server.on("request", nothing);
  server.off("request", nothing);
  const isNew = server.listenerCount("stream") > before;
  const ofStreams = isNew ? before : before - 1;
  const given = server.listeners("request");
  for (const listener of given) refuseHttp1Application(listener);
  if (given.length === 0 && ofStreams > 0) throw new TypeError(ONLY_STREAMS);
  server.on("newListener", (event: string | symbol, listener: unknown) => {
    if (event === "request") refuseHttp1Application(listener);
    else if (event === "stream" && server.listenerCount("request") === 0) {
      throw new TypeError(ONLY_STREAMS);
    }
  });
}

const ONLY_STREAMS =
  "meshServer: listeners of `stream` are called before the mesh can look at a request; listen for `request` instead, and add that listener first";

/** What an application of Express is, besides a listener. */
interface Http1Application {
  readonly request?: unknown;
  readonly response?: unknown;
  readonly http2Request?: unknown;
}

/** Throws a TypeError for an application that makes every request one of HTTP/1, whatever it was. */
function refuseHttp1Application(listener: unknown): void {
  const { request, response, http2Request } = listener as Http1Application;
  const isHttp1 =
    request instanceof NODE_HTTP.IncomingMessage || response instanceof NODE_HTTP.ServerResponse;
  // A bridge that has prototypes for both versions says so.
  if (!isHttp1 || http2Request !== undefined) return;
  throw new TypeError(
    "meshServer: an Express application cannot serve HTTP/2, because it replaces the prototypes of requests and replies by those of HTTP/1; leave out `http2`, or put a framework that can in its place (Fastify, Koa, Hono, connect)",
  );
}

function notFound(response: ServerResponse): void {
  response.statusCode = 404;
  response.end();
}

function nothing(): void {}
