/** Calls with legal HTTP/2 around bytes that need be no gRPC: Node's own client reads the status. */
import {
  connect,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type Settings,
} from "node:http2";

export interface Ended {
  /** `grpc-status`; undefined if the stream was reset without one. */
  readonly status: number | undefined;
  readonly resetCode: number;
}

export class Http2Caller implements Disposable {
  readonly session: ClientHttp2Session;

  constructor(port: number, settings: Settings = {}) {
    this.session = connect(`http://127.0.0.1:${port}`, { settings });
    this.session.on("error", () => {});
  }

  open(path: string, more: Record<string, string> = {}): ClientHttp2Stream {
    const stream = this.session.request({
      ":method": "POST",
      ":path": `/shop.Orders/${path}`,
      "content-type": "application/grpc",
      te: "trailers",
      ...more,
    });
    stream.on("error", () => {});
    return stream;
  }

  /** What the stream came to. `reads`: whether what it brings is taken. */
  ended(stream: ClientHttp2Stream, reads = true): Promise<Ended> {
    return new Promise((resolve) => {
      let status: number | undefined;
      const see = (headers: Record<string, unknown>): void => {
        const text = headers["grpc-status"];
        if (text !== undefined) status = Number(text);
      };
      stream.on("response", see);
      stream.on("trailers", see);
      const over = (): void => resolve({ status, resetCode: stream.rstCode });
      stream.on("close", over);
      // With a status the answer is whole, even if our half of the stream is still open.
      stream.on("end", () => {
        if (status !== undefined) over();
      });
      if (reads) stream.resume();
    });
  }

  /** One call with these bytes as its body. */
  async call(path: string, body: Buffer, more: Record<string, string> = {}): Promise<Ended> {
    const stream = this.open(path, more);
    const ended = this.ended(stream);
    stream.end(body);
    return ended;
  }

  [Symbol.dispose](): void {
    this.session.destroy();
  }
}
