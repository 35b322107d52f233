/**
 * What `request.socket` is over HTTP/2: the connection's facts, which are the socket's, and the life of
 * the one stream. Bytes on the socket are the session's.
 */
import type { Socket } from "node:net";
// oxlint-disable-next-line no-restricted-imports -- types
import type { ServerHttp2Stream } from "node:http2";
import { nodeError } from "./errors.ts";

export type StreamSocket = Socket;

/** Made when asked for: most handlers never do. */
export function socketOf(stream: ServerHttp2Stream): StreamSocket {
  return new Proxy(stream, HANDLER) as unknown as StreamSocket;
}

type Fields = Record<PropertyKey, unknown>;

const HANDLER: ProxyHandler<ServerHttp2Stream> = {
  get(stream, name) {
    const holder = holderOf(stream, name);
    const value = (holder as unknown as Fields)[name];
    return typeof value === "function" ? (value as () => unknown).bind(holder) : value;
  },
  set(stream, name, value) {
    (holderOf(stream, name) as unknown as Fields)[name] = value;
    return true;
  },
  has(stream, name) {
    return name in stream || (socketUnder(stream) as unknown as Fields)[name] !== undefined;
  },
  getPrototypeOf(stream) {
    return Reflect.getPrototypeOf(socketUnder(stream));
  },
};

function holderOf(stream: ServerHttp2Stream, name: PropertyKey): object {
  switch (name) {
    case "on":
    case "once":
    case "end":
    case "emit":
    case "destroy":
    case "destroyed":
    case "readable":
    case "writable":
      return stream;
    case "setTimeout":
      return stream.session ?? stream;
    case "write":
    case "read":
    case "pause":
    case "resume":
      throw nodeError("ERR_HTTP2_NO_SOCKET_MANIPULATION");
    default:
      return socketUnder(stream);
  }
}

/** The stream itself, once its session has gone. */
function socketUnder(stream: ServerHttp2Stream): object {
  return (stream.session?.socket as object | undefined) ?? stream;
}
