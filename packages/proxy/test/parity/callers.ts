/** Who makes the calls of a scenario: a client of the mesh in this process, or one of Node's own on a socket. */
import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import type { Duplex } from "node:stream";
import { isMeshError } from "@inmesh/core";
import type { HttpMesh, MeshClient } from "@inmesh/http";
import { gatewayStatus } from "./gateway.ts";
import type { Values, Version } from "./upstream.ts";

/** One call, as its application says it. */
export interface Ask {
  readonly method?: string;
  /** Default `/`. */
  readonly path?: string;
  /** The service. Default `orders`. */
  readonly to?: string;
  readonly headers?: Values;
  readonly body?: string;
  /** The same body as a stream that is not there yet, in pieces. */
  readonly pieces?: readonly string[];
  /** How long it waits: an option of the library, a header on the wire. */
  readonly timeoutMs?: number;
  /** An option that only a call in a program has. */
  readonly idempotent?: boolean;
  /** Asks for that protocol, and says `ping` in it. Of HTTP/1 alone. */
  readonly upgrade?: string;
  /** The caller goes when this resolves. */
  readonly leaves?: Promise<unknown>;
}

/** What the application gets. */
export interface Answer {
  /** Of the reply; where there is none, the one that stands for the error on the wire. */
  readonly status?: number;
  /** Why there is no reply. */
  readonly error?: string;
  readonly body?: string;
  /** The body broke off. */
  readonly broken?: true;
  readonly headers?: Readonly<Record<string, string>>;
  readonly trailers?: Readonly<Record<string, string>>;
  /** The caller has gone before there was anything. */
  readonly left?: true;
}

export interface Caller {
  ask(ask: Ask): Promise<Answer>;
  close(): void;
  /** Connects, where it would otherwise do so with the first call. */
  warm?(): void;
}

/** What two versions of HTTP, or two writers, say of the same reply in different ways. */
const NOT_SHOWN: ReadonlySet<string> = new Set([
  "connection",
  "date",
  "keep-alive",
  "transfer-encoding",
  "trailer",
]);

function shown(headers: Iterable<readonly [string, unknown]>): Record<string, string> {
  const all: Record<string, string> = {};
  for (const [name, value] of headers) {
    if (name.startsWith(":") || NOT_SHOWN.has(name) || value === undefined) continue;
    all[name] = Array.isArray(value) ? value.join(", ") : String(value);
  }
  return all;
}

/** The library: `clientOf` gives the client of a service. */
export class LibraryCaller implements Caller {
  readonly #mesh: HttpMesh;
  readonly #clientOf: (service: string) => MeshClient;

  constructor(mesh: HttpMesh, clientOf: (service: string) => MeshClient) {
    this.#mesh = mesh;
    this.#clientOf = clientOf;
  }

  async #upgrade({ path = "/", to = "orders", upgrade, headers }: Ask): Promise<Answer> {
    const options = { origin: `http://${to}`, path, protocol: upgrade, headers };
    try {
      const agreed = await this.#mesh.dispatcher.upgrade(options as never);
      const body = await spoken(agreed.socket as Duplex);
      return { status: 101, headers: shown(Object.entries(agreed.headers)), body };
    } catch (error) {
      if (!isMeshError(error)) throw error;
      return { status: gatewayStatus(error.code, error.reason), error: error.reason };
    }
  }

  async ask(ask: Ask): Promise<Answer> {
    if (ask.upgrade !== undefined) return this.#upgrade(ask);
    const { path = "/", to = "orders", method, headers, body, pieces, timeoutMs, idempotent } = ask;
    const left = new AbortController();
    void ask.leaves?.then(() => left.abort());
    let reply;
    try {
      reply = await this.#clientOf(to).fetch(path, {
        ...(method !== undefined && { method }),
        ...(headers !== undefined && { headers: headers as Record<string, string> }),
        ...(body !== undefined && { body }),
        ...(pieces !== undefined && { body: streamOf(pieces) }),
        ...(timeoutMs !== undefined && { timeoutMs }),
        ...(idempotent !== undefined && { idempotent }),
        ...(ask.leaves !== undefined && { signal: left.signal }),
      });
    } catch (error) {
      if (left.signal.aborted) return { left: true };
      if (!isMeshError(error)) throw error;
      return { status: gatewayStatus(error.code, error.reason), error: error.reason };
    }
    const { status } = reply;
    const all = [...reply.headers].map(
      ([name]) => [name, reply.headers.getAll(name).join(", ")] as const,
    );
    const head = { status, headers: shown(all) };
    try {
      const text = await reply.text();
      const trailers = shown(reply.trailers === undefined ? [] : [...reply.trailers]);
      return { ...head, body: text, ...(Object.keys(trailers).length > 0 && { trailers }) };
    } catch (error) {
      if (left.signal.aborted) return { left: true };
      if (!isMeshError(error)) throw error;
      return { ...head, broken: true };
    }
  }

  close(): void {}
}

async function* streamOf(pieces: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const piece of pieces) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    yield Buffer.from(piece);
  }
}

const SPOKEN = "first ping";

/** Says one word in the protocol that was agreed on, hears it again, and ends. */
async function spoken(socket: Duplex): Promise<string> {
  let got = "";
  socket.on("error", () => {});
  socket.setEncoding("latin1").on("data", (chunk: string) => {
    got += chunk;
    if (got === SPOKEN) socket.end();
  });
  const closed = once(socket, "close");
  socket.write("ping");
  await closed;
  return got;
}

/** Names that only the mesh says, and that say it of the mesh that answers. */
const ERROR = "x-mesh-error";

function answerOf(
  status: number,
  headers: Record<string, string>,
  trailers: Record<string, string>,
  body: string,
  whole: boolean,
  isOwn: boolean,
): Answer {
  if (isOwn && headers[ERROR] !== undefined) return { status, error: headers[ERROR] };
  const head = { status, headers };
  if (!whole) return { ...head, broken: true };
  return { ...head, body, ...(Object.keys(trailers).length > 0 && { trailers }) };
}

interface WireOptions {
  readonly port: number;
  /** A reply with a reason is an error of the mesh for its caller, and not a reply of the service. */
  readonly readsErrors: boolean;
}

/** A client of Node's over HTTP/1, with connections that are kept. */
class Http1Caller implements Caller {
  readonly #agent = new http.Agent({ keepAlive: true });
  readonly #options: WireOptions;

  constructor(options: WireOptions) {
    this.#options = options;
  }

  ask(ask: Ask): Promise<Answer> {
    const { path = "/", method = "GET", body, pieces } = ask;
    const { port, readsErrors } = this.#options;
    const length = body === undefined ? {} : { "content-length": body.length };
    // What every client over HTTP/2 takes, and the library.
    const takesTrailers =
      ask.upgrade === undefined
        ? { te: "trailers", connection: "keep-alive, te" }
        : { connection: "upgrade", upgrade: ask.upgrade };
    return new Promise((resolve) => {
      const request = http.request({
        agent: this.#agent,
        port,
        host: "127.0.0.1",
        method,
        path,
        headers: {
          host: ask.to ?? "orders",
          ...takesTrailers,
          ...length,
          ...claims(ask),
        } as http.OutgoingHttpHeaders,
      });
      let answered = false;
      request.on("error", () => {
        if (!answered) resolve({ left: true });
      });
      request.on("upgrade", (reply, socket, head) => {
        answered = true;
        if (head.length > 0) socket.unshift(head);
        const headers = shown(Object.entries(reply.headers));
        void spoken(socket).then((text) => resolve({ status: 101, headers, body: text }));
      });
      request.on("response", (reply) => {
        answered = true;
        let text = "";
        reply.on("error", () => {});
        reply.setEncoding("latin1").on("data", (chunk: string) => (text += chunk));
        reply.on("close", () =>
          resolve(
            answerOf(
              reply.statusCode!,
              shown(Object.entries(reply.headers)),
              shown(Object.entries(reply.trailers)),
              text,
              reply.complete,
              readsErrors,
            ),
          ),
        );
      });
      void ask.leaves?.then(() => request.destroy());
      if (pieces === undefined) request.end(body);
      else void write(pieces, request);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** The same over HTTP/2, on one connection. */
class Http2Caller implements Caller {
  readonly #session: http2.ClientHttp2Session;
  readonly #options: WireOptions;

  constructor(options: WireOptions) {
    this.#options = options;
    this.#session = http2.connect(`http://127.0.0.1:${options.port}`);
    this.#session.on("error", () => {});
  }

  async ask(ask: Ask): Promise<Answer> {
    const { path = "/", method = "GET", body, pieces } = ask;
    const length = body === undefined ? {} : { "content-length": String(body.length) };
    const stream = this.#session.request(
      {
        ":authority": ask.to ?? "orders",
        ":path": path,
        ":method": method,
        ...length,
        ...claims(ask),
      } as http2.OutgoingHttpHeaders,
      { endStream: body === undefined && pieces === undefined },
    );
    let head: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader = {};
    let trailers: http2.IncomingHttpHeaders = {};
    let text = "";
    stream.on("error", () => {});
    stream.on("response", (headers) => (head = headers));
    stream.on("trailers", (headers) => (trailers = headers));
    stream.setEncoding("latin1").on("data", (chunk: string) => (text += chunk));
    const closed = new Promise((resolve) => stream.on("close", resolve));
    void ask.leaves?.then(() => stream.close(http2.constants.NGHTTP2_CANCEL));
    if (pieces !== undefined) void write(pieces, stream);
    else if (body !== undefined) stream.end(body);
    await closed;
    const status = head[":status"];
    if (status === undefined) return { left: true };
    return answerOf(
      status,
      shown(Object.entries(head)),
      shown(Object.entries(trailers)),
      text,
      stream.rstCode === 0,
      this.#options.readsErrors,
    );
  }

  close(): void {
    this.#session.destroy();
  }
}

export function wireCaller(version: Version, options: WireOptions): Caller {
  return version === 1 ? new Http1Caller(options) : new Http2Caller(options);
}

function claims({ headers, timeoutMs }: Ask): Values {
  return { ...headers, ...(timeoutMs !== undefined && { "x-mesh-timeout-ms": String(timeoutMs) }) };
}

async function write(
  pieces: readonly string[],
  to: http.ClientRequest | http2.ClientHttp2Stream,
): Promise<void> {
  for await (const piece of streamOf(pieces)) {
    if (to.destroyed) return;
    to.write(piece);
  }
  to.end();
}
