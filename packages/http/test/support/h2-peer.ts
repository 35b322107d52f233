/**
 * A byte-exact HTTP/2 server: sends any frame, legal or not. Headers are written literally, without
 * a table; of the client's header blocks nothing is read but that they came.
 */
import { FaultPeer, PeerGone, type FaultConnection } from "@inmesh/core/testing";
import { onTestFinished } from "vitest";

export const DATA = 0;
export const HEADERS = 1;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const END_STREAM = 1;
export const END_HEADERS = 4;
export const MAX_CONCURRENT_STREAMS = 3;

const PREFACE_BYTES = 24;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

export function frame(
  type: number,
  flags: number,
  id: number,
  payload: Buffer = Buffer.alloc(0),
): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(id, 5);
  return Buffer.concat([header, payload]);
}

export function words(...values: readonly number[]): Buffer {
  const buffer = Buffer.alloc(4 * values.length);
  for (const [i, value] of values.entries()) buffer.writeUInt32BE(value >>> 0, 4 * i);
  return buffer;
}

/** Id and value in turn. */
export function settings(...pairs: readonly number[]): Buffer {
  const payload = Buffer.alloc(3 * pairs.length);
  for (let i = 0; i < pairs.length; i += 2) {
    payload.writeUInt16BE(pairs[i]!, 3 * i);
    payload.writeUInt32BE(pairs[i + 1]!, 3 * i + 2);
  }
  return frame(SETTINGS, 0, 0, payload);
}

export function goaway(lastStreamId: number, code: number): Buffer {
  return frame(GOAWAY, 0, 0, words(lastStreamId, code));
}

export function reset(id: number, code: number): Buffer {
  return frame(RST_STREAM, 0, id, words(code));
}

/** A header block: literals that no table remembers. */
export function block(fields: Readonly<Record<string, string>>): Buffer {
  const text = (value: string): Buffer => {
    const raw = Buffer.from(value, "latin1");
    if (raw.length < 127) return Buffer.concat([Buffer.from([raw.length]), raw]);
    const size = [127];
    let left = raw.length - 127;
    for (; left >= 128; left = Math.floor(left / 128)) size.push((left % 128) | 128);
    size.push(left);
    return Buffer.concat([Buffer.from(size), raw]);
  };
  const parts = Object.entries(fields).map(([name, value]) =>
    Buffer.concat([Buffer.from([0]), text(name), text(value)]),
  );
  return Buffer.concat(parts);
}

export function head(id: number, fields: Record<string, string>, ends = false): Buffer {
  return frame(HEADERS, END_HEADERS | (ends ? END_STREAM : 0), id, block(fields));
}

export function data(id: number, body: string | Buffer, ends = false): Buffer {
  return frame(DATA, ends ? END_STREAM : 0, id, Buffer.from(body));
}

/** A whole reply. */
export function ok(id: number, body = "ok"): Buffer {
  return Buffer.concat([head(id, { ":status": "200" }), data(id, body, true)]);
}

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
    await this.raw.readBytes(PREFACE_BYTES);
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
