/** Sockets for tests: servers and clients of node:net that are closed when the test ends. */
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** `host:port` of a server that gives each connection to `serve`. */
export async function listening(
  serve: (socket: Socket) => void,
  where: { readonly host?: string; readonly path?: string } = {},
): Promise<{
  readonly address: string;
  readonly port: number;
  close(): void;
  sockets: Set<Socket>;
}> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => sockets.delete(socket));
    serve(socket);
  });
  const { host = "127.0.0.1", path } = where;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    if (path === undefined) server.listen(0, host, resolve);
    else server.listen(path, resolve);
  });
  const close = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  onTestFinished(close);
  if (path !== undefined) return { address: `unix:${path}`, port: 0, close, sockets };
  const { port } = server.address() as AddressInfo;
  return {
    address: host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`,
    port,
    close,
    sockets,
  };
}

export class Client {
  readonly socket: Socket;
  received: Buffer = Buffer.alloc(0);
  ended = false;
  closed = false;
  error: NodeJS.ErrnoException | undefined = undefined;
  readonly #changed = new Set<() => void>();

  /** `to`: `host:port` or `unix:/path`. */
  constructor(to: string) {
    const [, host = "", port] = /^\[?(.*?)\]?:(\d+)$/.exec(to) ?? [];
    const place = to.startsWith("unix:") ? { path: to.slice(5) } : { host, port: Number(port) };
    this.socket = connect({ ...place, allowHalfOpen: true });
    this.socket.on("connect", () => this.#tell());
    this.socket.on("data", (chunk: Buffer) => {
      this.received = Buffer.concat([this.received, chunk]);
      this.#tell();
    });
    this.socket.on("end", () => {
      this.ended = true;
      this.#tell();
    });
    this.socket.on("error", (error) => (this.error = error));
    this.socket.on("close", () => {
      this.closed = true;
      this.#tell();
    });
    onTestFinished(() => void this.socket.destroy());
  }

  get text(): string {
    return this.received.toString("latin1");
  }

  send(data: string | Uint8Array): this {
    this.socket.write(data);
    return this;
  }

  end(): this {
    this.socket.end();
    return this;
  }

  /** Resolves when `condition` holds; rejects after a time that only a mistake takes. */
  until(condition: (client: this) => boolean, what = "what was waited for"): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (!condition(this)) return;
        clearTimeout(timer);
        this.#changed.delete(look);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#changed.delete(look);
        reject(new Error(`${what} did not come; got ${JSON.stringify(this.text.slice(0, 200))}`));
      }, 10_000);
      this.#changed.add(look);
      look();
    });
  }

  #tell(): void {
    for (const look of this.#changed) look();
  }
}
