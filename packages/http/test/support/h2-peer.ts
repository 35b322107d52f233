/**
 * A byte-exact HTTP/2 server: sends any frame, legal or not. Of the client's header blocks nothing is read but that
 * they came.
 */
import { FaultPeer, PeerGone, type FaultConnection } from "@inmesh/core/testing";
import { onTestFinished } from "vitest";
import { frame, HEADERS, ok, PREFACE, settings, SETTINGS, type Frame } from "./h2-frames.ts";

export * from "./h2-frames.ts";

export class H2Connection {
  /** Everything the client sent, acknowledgements aside. */
  readonly frames: Frame[] = [];
  readonly raw: FaultConnection;
  readonly number: number;

  constructor(raw: FaultConnection) {
    this.raw = raw;
    this.number = raw.number;
  }

  /** Reads the client's preface and says our settings. */
  async open(first: Buffer = settings()): Promise<void> {
    await this.raw.write(first);
    await this.raw.readBytes(PREFACE.length);
  }

  write(...frames: readonly Buffer[]): Promise<void> {
    return this.raw.write(Buffer.concat(frames));
  }

  /** The next frame; SETTINGS are acknowledged on the way. */
  async next(): Promise<Frame> {
    const header = await this.raw.readBytes(9);
    const payload = await this.raw.readBytes(header.readUIntBE(0, 3));
    const got = { type: header[3]!, flags: header[4]!, id: header.readUInt32BE(5), payload };
    if (got.type === SETTINGS) {
      if ((got.flags & 1) === 0) await this.write(frame(SETTINGS, 1, 0));
      return this.next();
    }
    this.frames.push(got);
    return got;
  }

  /** The id of the next request. */
  async request(): Promise<number> {
    for (;;) {
      const got = await this.next();
      if (got.type === HEADERS) return got.id;
    }
  }

  async until(type: number, id?: number): Promise<Frame> {
    for (;;) {
      const got = await this.next();
      if (got.type === type && (id === undefined || got.id === id)) return got;
    }
  }

  /** Reads on until the client leaves. */
  async rest(): Promise<void> {
    try {
      for (;;) await this.next();
    } catch (error) {
      if (!(error instanceof PeerGone)) throw error;
    }
  }
}

/** Ends with the test. `script` runs once per connection; what it leaves is read on. */
export async function h2Peer(
  script: (connection: H2Connection) => Promise<void>,
): Promise<FaultPeer> {
  const peer = await FaultPeer.start(async (raw) => {
    const connection = new H2Connection(raw);
    await script(connection);
    await connection.rest();
  });
  onTestFinished(() => peer.close());
  return peer;
}

/** Around its first reply it sends frames that HTTP/2 allows and that no peer has to understand (faults G13). */
export function oddPeer(
  reply: (id: number) => Buffer,
  answer: (connection: H2Connection) => Promise<void>,
): Promise<FaultPeer> {
  return h2Peer(async (connection) => {
    await connection.open(settings(0xfafa, 1, 0x10, 7));
    const id = await connection.request();
    const unusual = [
      frame(2, 0, id, Buffer.from([0, 0, 0, 0, 1])),
      frame(0xbe, 0xff, id, Buffer.from("whatever")),
      frame(0xbe, 0, 0, Buffer.alloc(100)),
    ];
    const origin = Buffer.concat([Buffer.from([0, 14]), Buffer.from("https://a.test")]);
    const service = Buffer.concat([Buffer.from([0, 0]), Buffer.from('h2=":1"')]);
    for (let i = 0; i < 50; i++) unusual.push(frame(0xc, 0, 0, origin), frame(0xa, 0, id, service));
    await connection.write(...unusual, reply(id));
    await answer(connection);
  });
}

/** Answers every request of every connection. */
export async function answerAll(connection: H2Connection): Promise<void> {
  for (;;) {
    const id = await connection.request();
    await connection.write(ok(id));
  }
}
