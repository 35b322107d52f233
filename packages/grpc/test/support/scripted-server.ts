/** An HTTP/2 server that says on each stream what a test wants, within the rules of HTTP/2 and outside those of gRPC. */
import { once } from "node:events";
import {
  createServer,
  type IncomingHttpHeaders,
  type Http2Server,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { resetSocket } from "@inmesh/core/testing";

export const HEAD = { ":status": 200, "content-type": "application/grpc" } as const;

/** A message as it goes over the wire: a flag, four bytes of length, the bytes. */
export function framed(bytes: Buffer, flag = 0, length: number = bytes.length): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flag;
  head.writeUInt32BE(length >>> 0, 1);
  return Buffer.concat([head, bytes]);
}

export type Script = (
  stream: ServerHttp2Stream,
  path: string,
  server: ScriptedServer,
  headers: IncomingHttpHeaders,
) => void;

export class ScriptedServer {
  readonly sessions: Set<ServerHttp2Session> = new Set();
  readonly sockets: Set<Socket> = new Set();
  /** Connections so far. */
  accepted = 0;
  /** Streams seen, by path. */
  readonly seen: Map<string, number> = new Map();
  onSession: (session: ServerHttp2Session) => void = () => {};
  readonly #server: Http2Server;

  private constructor(server: Http2Server) {
    this.#server = server;
  }

  static async start(script: Script, settings: object = {}): Promise<ScriptedServer> {
    const server = createServer({ settings });
    const own = new ScriptedServer(server);
    server.on("connection", (socket: Socket) => {
      own.accepted++;
      own.sockets.add(socket);
      socket.once("close", () => own.sockets.delete(socket));
      socket.on("error", () => {});
    });
    server.on("session", (session) => {
      own.sessions.add(session);
      session.once("close", () => own.sessions.delete(session));
      session.on("error", () => {});
      own.onSession(session);
    });
    server.on("stream", (stream, headers) => {
      const path = String(headers[":path"]);
      own.seen.set(path, (own.seen.get(path) ?? 0) + 1);
      stream.on("error", () => {});
      script(stream, path, own, headers);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return own;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Every connection ends by RST. */
  reset(): void {
    for (const socket of this.sockets) resetSocket(socket);
  }

  /** No new connections; those that are there end. */
  async close(): Promise<void> {
    this.reset();
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, "close");
  }
}

/** A whole reply. */
export function answer(stream: ServerHttp2Stream, bytes: Buffer, status = "0"): void {
  stream.respond(HEAD, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": status }));
  stream.end(framed(bytes));
}

/** No head, no message: a status at once. */
export function trailersOnly(stream: ServerHttp2Stream, fields: Record<string, string>): void {
  stream.respond({ ...HEAD, ...fields }, { endStream: true });
}
