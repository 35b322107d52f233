/** Servers of a scenario: real ones of node:http and node:http2 that follow a script, and remember what reached them. */
import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { TlsOptions } from "node:tls";
import { resetSocket } from "@inmesh/core/testing";

export type Version = 1 | 2;
export type Values = Readonly<Record<string, string | readonly string[]>>;

/** A request that has come whole, and how its server answers. */
export interface Arrived {
  /** 1 for the first one of its server. */
  readonly number: number;
  readonly method: string;
  readonly path: string;
  readonly body: string;
  header(name: string): string | undefined;
  /** A whole reply. */
  reply(status?: number, body?: string, headers?: Values, trailers?: Values): void;
  /** A head and the start of a body; `more` and `end` follow. */
  begin(body: string, headers?: Values): void;
  more(body: string): void;
  end(): void;
  /** Its connection is reset: of HTTP/2 with everything that is on it. */
  reset(): void;
  /** Nothing of it was processed: RST_STREAM with REFUSED_STREAM. Of HTTP/2 alone. */
  refuse(): void;
}

export type Serve = (request: Arrived) => void;

/** As it reached its server. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly authority: string;
  /** By lower-case name, without those of the connection. */
  readonly fields: Readonly<Record<string, readonly string[]>>;
  body: string;
  trailers: Readonly<Record<string, string | string[] | undefined>>;
}

/** Of the connection, and of framing: two versions of HTTP say them differently. */
const OF_CONNECTION: ReadonlySet<string> = new Set([
  "connection",
  "host",
  "keep-alive",
  "te",
  "trailer",
  "transfer-encoding",
]);

type Request = http.IncomingMessage | http2.Http2ServerRequest;
type Response = http.ServerResponse;

/** What an application does, whatever server it runs in, and what has reached it. */
export class Application {
  readonly name: string;
  readonly seen: SeenRequest[] = [];
  readonly #serve: Serve;
  readonly #log: string[];

  /** `log`: gets its name at each request, over all of a scenario. */
  constructor(name: string, serve: Serve, log: string[]) {
    this.name = name;
    this.#serve = serve;
    this.#log = log;
  }

  readonly listener = (request: Request, response: Response): void => {
    const one = this.arrived(request);
    request.on("error", () => {});
    response.on("error", () => {});
    request.setEncoding("latin1").on("data", (chunk: string) => (one.body += chunk));
    request.on("end", () => {
      one.trailers = { ...request.trailers } as SeenRequest["trailers"];
      this.#serve({
        number: this.seen.indexOf(one) + 1,
        method: one.method,
        path: one.path,
        body: one.body,
        header: (name) => one.fields[name]?.join(", "),
        reply: (status = 200, body = "ok", headers = {}, trailers = undefined) => {
          const isBodyless = status === 204 || status === 304;
          const length = trailers === undefined &&
            !isBodyless && { "content-length": String(body.length) };
          response.statusCode = status;
          for (const [name, value] of Object.entries({ ...length, ...headers })) {
            response.setHeader(name, value);
          }
          if (trailers !== undefined) response.addTrailers(trailers as http.OutgoingHttpHeaders);
          response.end(body === "" || isBodyless ? undefined : body);
        },
        begin: (body, headers = {}) => {
          response.writeHead(200, headers as http.OutgoingHttpHeaders);
          response.write(body);
        },
        more: (body) => void response.write(body),
        end: () => void response.end(),
        reset: () => this.reset(request),
        refuse: () => {
          const { stream } = request as http2.Http2ServerRequest;
          stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
        },
      });
    });
  };

  /** Ends the connection of a request. */
  protected reset(request: Request): void {
    request.socket.destroy();
  }

  protected arrived(request: Request): SeenRequest {
    const fields: Record<string, string[]> = {};
    const { rawHeaders } = request;
    for (let i = 0; i < rawHeaders.length; i += 2) {
      const name = rawHeaders[i]!.toLowerCase();
      if (name.startsWith(":") || OF_CONNECTION.has(name)) continue;
      (fields[name] ??= []).push(rawHeaders[i + 1]!);
    }
    const one: SeenRequest = {
      method: request.method!,
      path: request.url!,
      authority: String(request.headers[":authority"] ?? request.headers.host ?? ""),
      fields,
      body: "",
      trailers: {},
    };
    this.seen.push(one);
    this.#log.push(this.name);
    return one;
  }
}

/** The same in a server of its own, that listens. */
export class Upstream extends Application {
  /** Accepted so far. */
  connections = 0;
  port = 0;
  readonly #version: Version;
  readonly #tls: TlsOptions | undefined;
  readonly #sockets = new Set<Socket>();
  #server: http.Server | http2.Http2Server | undefined = undefined;

  constructor(name: string, version: Version, serve: Serve, log: string[], tls?: TlsOptions) {
    super(name, serve, log);
    this.#version = version;
    this.#tls = tls;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Again on the same port, after `stop`. */
  async start(): Promise<this> {
    const server = this.#make();
    server.on("session", (session: http2.Http2Session) => session.on("error", () => {}));
    server.on("connection", (socket: Socket) => {
      this.connections++;
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => this.#sockets.delete(socket));
    });
    server.listen(this.port, "127.0.0.1");
    await once(server, "listening");
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    return this;
  }

  #make(): http.Server | http2.Http2Server {
    const tls = this.#tls;
    if (this.#version === 2) {
      const listener = this.listener as never;
      return tls === undefined
        ? http2.createServer(listener)
        : (http2.createSecureServer(tls, listener) as never);
    }
    const kept = { keepAliveTimeout: 60_000 };
    return tls === undefined
      ? http.createServer(kept, this.listener)
      : https.createServer({ ...kept, ...tls }, this.listener);
  }

  /** It speaks that protocol with who asks for it, which sends back what it gets behind a first word. Of HTTP/1 alone. */
  agreesTo(protocol: string): void {
    this.#server!.on("upgrade", (request: http.IncomingMessage, socket: Socket) => {
      this.arrived(request);
      socket.on("error", () => {});
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: ${protocol}\r\n\r\nfirst `,
      );
      socket.pipe(socket);
    });
  }

  /** Nothing listens there any more, and what is open is reset. */
  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  protected override reset({ socket: { remotePort } }: Request): void {
    // A session of HTTP/2 shows a stand-in for its socket, which cannot be reset.
    for (const socket of this.#sockets) if (socket.remotePort === remotePort) resetSocket(socket);
  }
}
