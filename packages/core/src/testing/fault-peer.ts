/**
 * A TCP peer that misbehaves to the byte: for every connection a script says what is read, what is
 * written and how the connection ends. Only on loopback.
 */
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";

/** A request as it came in, nothing interpreted but its length. */
export interface RawRequest {
  /** Request line and headers, up to and with the empty line. */
  readonly head: string;
  /** Without the framing of chunks. */
  readonly body: Buffer;
}

/** Runs once per connection. What it throws after the connection has gone is ignored. */
export type FaultScript = (connection: FaultConnection) => Promise<void> | void;

export interface FaultPeerOptions {
  /** Default `127.0.0.1`. */
  readonly host?: string;
}

/** The peer closed, or reset, the connection that a script was reading from. */
export class PeerGone extends Error {
  override readonly name = "PeerGone";
}

export class FaultConnection {
  readonly socket: Socket;
  /** 1 for the first connection of the peer. */
  readonly number: number;
  readonly #peer: FaultPeer;
  #bytes: Buffer = Buffer.alloc(0);
  #gone = false;
  #wake: (() => void) | undefined = undefined;

  /** Made by FaultPeer. */
  constructor(peer: FaultPeer, socket: Socket, number: number) {
    this.#peer = peer;
    this.socket = socket;
    this.number = number;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => {
      this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
      this.#wake?.();
    });
    const gone = (): void => {
      this.#gone = true;
      this.#wake?.();
    };
    socket.on("end", gone);
    socket.on("close", gone);
    socket.on("error", gone);
  }

  /** The client has closed or reset its side. */
  get gone(): boolean {
    return this.#gone;
  }

  /** What came and was not read yet. */
  get unread(): Buffer {
    return this.#bytes;
  }

  /** The next request with its whole body. Rejects with PeerGone if the client leaves before. */
  async readRequest(): Promise<RawRequest> {
    const head = await this.readHead();
    let body: Buffer;
    const length = /^content-length:[ \t]*(\d+)/im.exec(head);
    if (/^transfer-encoding:.*chunked/im.test(head)) body = await this.#readChunks();
    else body = await this.readBytes(length === null ? 0 : Number(length[1]));
    this.#peer.requests.push({ head, body });
    return { head, body };
  }

  /** The head alone; the body stays unread. Not counted as a request. */
  async readHead(): Promise<string> {
    for (;;) {
      const end = this.#bytes.indexOf("\r\n\r\n");
      if (end >= 0) return (await this.readBytes(end + 4)).toString("latin1");
      await this.#more();
    }
  }

  async readBytes(count: number): Promise<Buffer> {
    while (this.#bytes.length < count) await this.#more();
    const bytes = this.#bytes.subarray(0, count);
    this.#bytes = this.#bytes.subarray(count);
    return bytes;
  }

  /** Hands the bytes to the kernel. A client that has gone is not an error. */
  write(bytes: string | Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      if (this.socket.destroyed || !this.socket.writable) return resolve();
      const data = typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes;
      this.socket.write(data, () => resolve());
    });
  }

  /** Closes our side; the client may still send. */
  fin(): void {
    this.socket.end();
  }

  /** A reset, after what was written before. */
  rst(): void {
    resetSocket(this.socket);
  }

  /** Cut short when the client leaves or the peer closes. */
  async pause(ms: number): Promise<void> {
    const until = performance.now() + ms;
    for (;;) {
      const left = until - performance.now();
      if (left <= 0 || this.#gone) return;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          if (!this.#gone) return;
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = undefined;
    }
  }

  /** Does nothing until the client leaves or the peer closes. */
  hold(): Promise<void> {
    return this.pause(2 ** 30);
  }

  async #readChunks(): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for (;;) {
      let end = this.#bytes.indexOf("\r\n");
      while (end < 0) {
        await this.#more();
        end = this.#bytes.indexOf("\r\n");
      }
      const size = Number.parseInt((await this.readBytes(end + 2)).toString("latin1"), 16);
      const chunk = await this.readBytes(size);
      await this.readBytes(2);
      if (size === 0) return Buffer.concat(chunks);
      chunks.push(chunk);
    }
  }

  async #more(): Promise<void> {
    if (this.#gone) throw new PeerGone("the client left");
    await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#wake = undefined;
  }
}

export class FaultPeer implements AsyncDisposable {
  /** Requests that were read whole, in order, over all connections. */
  readonly requests: RawRequest[] = [];
  /** Accepted so far. */
  connections = 0;
  /** What scripts threw, a client that left aside: a mistake in the test. */
  readonly errors: unknown[] = [];
  readonly #server: Server;
  readonly #open = new Set<Socket>();

  /** Use `FaultPeer.start()`. */
  constructor(server: Server, script: FaultScript) {
    this.#server = server;
    server.on("connection", (socket) => {
      this.#open.add(socket);
      socket.on("close", () => this.#open.delete(socket));
      const connection = new FaultConnection(this, socket, ++this.connections);
      void this.#run(script, connection);
    });
  }

  /** Listens on a free port of `host`. */
  static async start(
    script: FaultScript,
    { host = "127.0.0.1" }: FaultPeerOptions = {},
  ): Promise<FaultPeer> {
    const server = createServer({ allowHalfOpen: true });
    const peer = new FaultPeer(server, script);
    server.listen(0, host);
    await once(server, "listening");
    return peer;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** `host:port`, with brackets around an IPv6 literal. */
  get address(): string {
    const { address, port } = this.#server.address() as AddressInfo;
    return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
  }

  /** Connections open now. */
  get open(): number {
    return this.#open.size;
  }

  /** Stops listening and resets what is open. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#open) resetSocket(socket);
    await closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #run(script: FaultScript, connection: FaultConnection): Promise<void> {
    try {
      await script(connection);
    } catch (error) {
      if (!(error instanceof PeerGone)) this.errors.push(error);
    }
    // The client's FIN is answered, or the socket would stay half-open for ever.
    if (connection.gone) connection.socket.destroy();
    else connection.socket.once("end", () => connection.socket.end());
  }
}

/** Resets a connection. libuv resets no socket whose FIN is on its way, and Node would then keep it open for ever. */
export function resetSocket(socket: Socket): void {
  if (socket.writableEnded && !socket.writableFinished) socket.destroy();
  else socket.resetAndDestroy();
}
