/**
 * A relay between a client and a server that reads along: whether each message of the client was
 * compressed stands in its first byte, and grpc-js does not show it.
 */
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { once } from "node:events";

export interface Tap {
  readonly port: number;
  /** Of every message sent so far, in order: was its compressed flag set? */
  readonly compressed: readonly boolean[];
  close(): Promise<void>;
}

const PREFACE_BYTES = 24;
const FRAME_HEAD_BYTES = 9;
const MESSAGE_HEAD_BYTES = 5;
const DATA = 0;
const PADDED = 0x8;

export async function startTap(serverPort: number): Promise<Tap> {
  const compressed: boolean[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(serverPort, "127.0.0.1");
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.setNoDelay();
      from.on("error", () => to.destroy());
      from.on("close", () => sockets.delete(from));
      from.pipe(to);
    }
    const read = frameReader(messageFlags((flag) => compressed.push(flag)));
    client.on("data", read);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    compressed,
    async close() {
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** Cuts what a client sends into frames of HTTP/2 and passes on the bodies of those with data. */
function frameReader(data: (streamId: number, bytes: Buffer) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  let skipBytes = PREFACE_BYTES;
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    if (rest.length < skipBytes) return;
    rest = rest.subarray(skipBytes);
    skipBytes = 0;
    while (rest.length >= FRAME_HEAD_BYTES) {
      const end = FRAME_HEAD_BYTES + rest.readUIntBE(0, 3);
      if (rest.length < end) return;
      const padded = (rest[4]! & PADDED) !== 0;
      const from = FRAME_HEAD_BYTES + (padded ? 1 : 0);
      const to = end - (padded ? rest[FRAME_HEAD_BYTES]! : 0);
      if (rest[3] === DATA) data(rest.readUInt32BE(5) & 0x7fff_ffff, rest.subarray(from, to));
      rest = rest.subarray(end);
    }
  };
}

/** Finds the heads of messages in the bytes of each stream. */
function messageFlags(found: (compressed: boolean) => void): (id: number, bytes: Buffer) => void {
  const streams = new Map<number, Buffer>();
  return (id, bytes) => {
    let rest = Buffer.concat([streams.get(id) ?? Buffer.alloc(0), bytes]);
    while (rest.length >= MESSAGE_HEAD_BYTES) {
      const end = MESSAGE_HEAD_BYTES + rest.readUInt32BE(1);
      if (rest.length < end) break;
      found(rest[0] === 1);
      rest = rest.subarray(end);
    }
    streams.set(id, rest);
  };
}
