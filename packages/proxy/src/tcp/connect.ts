/**
 * CONNECT (RFC 9110 §9.3.6), where a listener allows it: a client that would speak to a service by itself, such as over TLS,
 * asks the proxy for a tunnel to it. It leads to services of the mesh and nowhere else. Every other request goes to the
 * front of HTTP.
 */
import { MeshError, type Runtime, type Timer } from "@inmesh/core/spi/transport";
import { Defects } from "../defects.ts";
import type { Accepted, Front } from "../listen/accepted.ts";
import type { TcpFront, TcpService } from "./front.ts";

const MAX_HEAD_BYTES = 16_384;
const MAX_FIELDS = 100;
/** The rest of the head, of which the first line has begun. */
const HEAD_TIMEOUT_MS = 10_000;
const START = "CONNECT ";
const LINE = /^CONNECT ((?:[a-z0-9_.-]{1,253}|\[[0-9a-f:.]{2,45}\]):[0-9]{1,5}) HTTP\/1\.[01]$/i;
/** A name of RFC 9110 and a value without control characters; no line that goes on with the one before it. */
const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\t -~\x80-\xff]*$/;
/** They would say that content follows, which CONNECT does not have. */
const FRAMING: ReadonlySet<string> = new Set(["content-length", "transfer-encoding"]);

export interface ConnectParts {
  readonly runtime: Runtime;
  readonly tcp: TcpFront;
  /** Of all other requests. */
  readonly http: Front;
  /** Behind an authority in lower case, such as `orders:443`; undefined: none. Must not throw. */
  serviceOf(authority: string): TcpService | undefined;
}

export class ConnectFront implements Front {
  readonly #parts: ConnectParts;

  constructor(parts: ConnectParts) {
    this.#parts = parts;
  }

  accept(connection: Accepted): void {
    const { head } = connection;
    if (head.toString("latin1", 0, START.length) !== START) this.#parts.http.accept(connection);
    else new HeadReader(connection, this.#parts).look(head);
  }
}

class HeadReader {
  readonly #connection: Accepted;
  readonly #parts: ConnectParts;
  readonly #timer: Timer;
  #head: Buffer = Buffer.alloc(0);

  constructor(connection: Accepted, parts: ConnectParts) {
    this.#connection = connection;
    this.#parts = parts;
    const { socket } = connection;
    this.#timer = parts.runtime.after(HEAD_TIMEOUT_MS, () => this.#refuse(408), undefined);
    socket.on("data", this.#read);
    socket.on("end", this.#ended);
    socket.once("close", this.#stop);
    socket.resume();
  }

  readonly #read = (chunk: Buffer): void => {
    try {
      this.look(Buffer.concat([this.#head, chunk]));
    } catch (error) {
      this.#stop();
      Defects.of(this.#parts.runtime).end(error, this.#connection.socket);
    }
  };

  readonly #ended = (): void => this.#refuse(400);

  readonly #stop = (): void => {
    this.#timer.cancel();
    const { socket } = this.#connection;
    socket.off("data", this.#read);
    socket.off("end", this.#ended);
    socket.off("close", this.#stop);
  };

  look(head: Buffer): void {
    this.#head = head;
    const end = head.subarray(0, MAX_HEAD_BYTES).indexOf("\r\n\r\n");
    if (end < 0) {
      if (head.length >= MAX_HEAD_BYTES) this.#refuse(431);
      return;
    }
    const target = targetIn(head.toString("latin1", 0, end));
    if (target === undefined) return this.#refuse(400);
    const service = this.#parts.serviceOf(target);
    if (service === undefined) return this.#refuse(403);
    this.#stop();
    const { socket } = this.#connection;
    socket.pause();
    const rest = { ...this.#connection, head: head.subarray(end + 4) };
    this.#parts.tcp.tunnel(rest, service, {
      connected: () => void socket.write("HTTP/1.1 200 OK\r\n\r\n"),
      failed: (error) => answer(socket, statusOf(error)),
    });
  }

  #refuse(status: number): void {
    this.#stop();
    answer(this.#connection.socket, status);
  }
}

/** In lower case; undefined: the head is none of CONNECT, or two readers could understand it differently. */
function targetIn(head: string): string | undefined {
  const [line = "", ...fields] = head.split("\r\n");
  const target = LINE.exec(line)?.[1]?.toLowerCase();
  if (target === undefined || fields.length > MAX_FIELDS) return undefined;
  const port = Number(target.slice(target.lastIndexOf(":") + 1));
  if (port < 1 || port > 65_535) return undefined;
  let hosts = 0;
  for (const field of fields) {
    const name = FIELD.exec(field)?.[1]?.toLowerCase();
    if (name === undefined || FRAMING.has(name)) return undefined;
    if (name === "host" && ++hosts > 1) return undefined;
  }
  return target;
}

const REASONS: Readonly<Record<number, string>> = {
  400: "Bad Request",
  403: "Forbidden",
  408: "Request Timeout",
  431: "Request Header Fields Too Large",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};

function statusOf(error: unknown): number {
  const code = error instanceof MeshError ? error.code : undefined;
  const isLate = error instanceof MeshError && error.reason === "connect_timeout";
  if (isLate || code === "deadline_exceeded") return 504;
  return code === "connect_failed" ? 502 : 503;
}

/** The connection ends with it: what the client sends behind a CONNECT is for a tunnel that there is not. */
function answer(socket: Accepted["socket"], status: number): void {
  if (socket.destroyed) return;
  const head = `HTTP/1.1 ${status} ${REASONS[status]!}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`;
  socket.resume();
  socket.end(head, () => socket.destroySoon());
}
