/** A gRPC client that sends exactly these frames; of what comes back it reads frames, not headers. */
import { H2Client } from "../../../http/test/support/h2-client.ts";
import {
  data,
  END_STREAM,
  head,
  HEADERS,
  PREFACE,
  settings,
} from "../../../http/test/support/h2-frames.ts";
import { RawClient } from "../../../http/test/support/raw-client.ts";

export class RawGrpcClient extends H2Client {
  /** `first`: settings, or other bytes behind the preface; null: not even that. Its caller ends it. */
  static async open(port: number, first: Buffer | null = settings()): Promise<RawGrpcClient> {
    const client = new RawGrpcClient(await RawClient.to(port));
    client.acknowledge();
    if (first !== null) client.send(PREFACE, first);
    return client;
  }

  /** A unary call, whole. */
  call(id: number, path = "/shop.Orders/Get"): void {
    this.send(callHead(id, {}, path), data(id, message(), true));
  }

  /** A reply has come to its end. */
  async replied(id: number): Promise<void> {
    await this.until(
      (one) => one.id === id && one.type === HEADERS && (one.flags & END_STREAM) !== 0,
      `the end of ${id}`,
    );
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
