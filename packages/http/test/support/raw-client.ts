/** A client that sends exactly these bytes, and reads what comes until the server closes or is silent. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";

export interface RawReply {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

export class RawClient implements Disposable {
  readonly socket: Socket;
  #text = "";
  #closed = false;
  #wake: () => void = () => {};

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#text += chunk.toString("latin1");
      this.#wake();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#closed = true;
      this.#wake();
    });
  }

  static async to(port: number): Promise<RawClient> {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    const client = new RawClient(socket);
    await once(socket, "connect");
    return client;
  }

  /** Everything received so far. */
  get text(): string {
    return this.#text;
  }

  get closed(): boolean {
    return this.#closed;
  }

  send(bytes: string | Uint8Array): void {
    this.socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
  }

  async until(holds: () => boolean, what: string, withinMs = 10_000): Promise<void> {
    const timer = setTimeout(() => this.#wake(), withinMs);
    const endsAt = performance.now() + withinMs;
    while (!holds()) {
      if (performance.now() >= endsAt)
        throw new Error(`${what}: not within ${withinMs} ms: ${this.#text}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    clearTimeout(timer);
  }

  /** The next reply with a Content-Length, interim ones skipped. */
  async reply(withinMs?: number): Promise<RawReply> {
    for (;;) {
      await this.until(() => this.#text.includes("\r\n\r\n") || this.#closed, "a head", withinMs);
      const end = this.#text.indexOf("\r\n\r\n");
      if (end < 0) throw new Error(`closed without a reply: ${this.#text}`);
      const head = this.#text.slice(0, end);
      const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1]);
      if (status >= 100 && status < 200) {
        this.#text = this.#text.slice(end + 4);
        continue;
      }
      const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
      const whole = end + 4 + length;
      await this.until(() => this.#text.length >= whole || this.#closed, "a body", withinMs);
      const body = this.#text.slice(end + 4, whole);
      this.#text = this.#text.slice(whole);
      return { status, head, body };
    }
  }

  /** Resolves when the server has closed the connection. */
  end(withinMs?: number): Promise<void> {
    return this.until(() => this.#closed, "the close", withinMs);
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}
