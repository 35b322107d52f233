/** A gRPC client that sends exactly these frames; of what comes back it reads frames, not headers. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import {
  data,
  END_HEADERS,
  END_STREAM,
  frame,
  head,
  HEADERS,
  settings,
  SETTINGS,
  type Frame,
} from "../../../http/test/support/h2-peer.ts";

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

export class RawGrpcClient implements Disposable {
  readonly frames: Frame[] = [];
  closed = false;
  readonly socket: Socket;
  #received = Buffer.alloc(0);
  #wake: () => void = () => {};

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => {});
    socket.on("close", () => {
      this.closed = true;
      this.#wake();
    });
    socket.on("data", (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#cut();
      this.#wake();
    });
  }

  /** `first`: settings, or other bytes behind the preface; null: not even that. */
  static async to(port: number, first: Buffer | null = settings()): Promise<RawGrpcClient> {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    const client = new RawGrpcClient(socket);
    await once(socket, "connect");
    if (first !== null) socket.write(Buffer.concat([PREFACE, first]));
    return client;
  }

  #cut(): void {
    while (this.#received.length >= 9) {
      const end = 9 + this.#received.readUIntBE(0, 3);
      if (this.#received.length < end) return;
      const got: Frame = {
        type: this.#received[3]!,
        flags: this.#received[4]!,
        id: this.#received.readUInt32BE(5),
        payload: this.#received.subarray(9, end),
      };
      this.#received = this.#received.subarray(end);
      if (got.type === SETTINGS && (got.flags & 1) === 0) this.send(frame(SETTINGS, 1, 0));
      this.frames.push(got);
    }
  }

  send(...frames: readonly Buffer[]): void {
    if (!this.socket.destroyed) this.socket.write(Buffer.concat(frames));
  }

  async until(holds: () => boolean, what: string, withinMs = 10_000): Promise<void> {
    const endsAt = performance.now() + withinMs;
    const timer = setTimeout(() => this.#wake(), withinMs + 1);
    while (!holds()) {
      if (performance.now() >= endsAt) {
        const seen = this.frames.map(({ type, id, flags }) => `${type}/${id}/${flags}`).join(" ");
        throw new Error(`${what}: not within ${withinMs} ms; ${seen}, closed: ${this.closed}`);
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    clearTimeout(timer);
  }

  /** The first frame of a type, from the `from`th on. */
  async frame(type: number, from = 0): Promise<Frame> {
    const find = (): Frame | undefined => this.frames.slice(from).find((one) => one.type === type);
    await this.until(() => find() !== undefined, `a frame of type ${type}`);
    return find()!;
  }

  /** A unary call, whole. */
  call(id: number, path = "/shop.Orders/Get"): void {
    this.send(callHead(id, {}, path), data(id, message(), true));
  }

  /** A reply has come to its end. */
  async replied(id: number): Promise<void> {
    const ended = ({ type, flags, id: of }: Frame): boolean =>
      of === id && type === HEADERS && (flags & END_STREAM) !== 0;
    await this.until(() => this.frames.some(ended), `the end of ${id}`);
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}

export function callHead(
  id: number,
  more: Record<string, string> = {},
  path = "/shop.Orders/Get",
): Buffer {
  return head(id, {
    ":method": "POST",
    ":scheme": "http",
    ":path": path,
    ":authority": "orders",
    "content-type": "application/grpc",
    te: "trailers",
    ...more,
  });
}

/** A gRPC message: flag, length, bytes. */
export function message(bytes: Buffer = Buffer.alloc(0), flag = 0, length = bytes.length): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = flag;
  prefix.writeUInt32BE(length, 1);
  return Buffer.concat([prefix, bytes]);
}

export { END_HEADERS };
