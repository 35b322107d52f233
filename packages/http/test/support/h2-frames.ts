/** Frames of HTTP/2 by hand, legal or not. Headers are written literally, without a table. */

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

/** What a client says first. */
export const PREFACE: Buffer = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

/** A payload that is longer than a frame can say is said to be as long as one can. */
export function frame(
  type: number,
  flags: number,
  id: number,
  payload: Buffer = Buffer.alloc(0),
): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(Math.min(payload.length, 0xffffff), 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(id >>> 0, 5);
  return Buffer.concat([header, payload]);
}

/** Calls back with each frame that is whole, and gives the rest. */
export function takeFrames(bytes: Buffer, take: (frame: Frame) => void): Buffer {
  let rest = bytes;
  while (rest.length >= 9) {
    const end = 9 + rest.readUIntBE(0, 3);
    if (rest.length < end) break;
    const id = rest.readUInt32BE(5);
    take({ type: rest[3]!, flags: rest[4]!, id, payload: rest.subarray(9, end) });
    rest = rest.subarray(end);
  }
  return rest;
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

/** A string of HPACK, without Huffman's code. */
export function text(value: string): Buffer {
  const raw = Buffer.from(value, "latin1");
  if (raw.length < 127) return Buffer.concat([Buffer.from([raw.length]), raw]);
  const size = [127];
  let left = raw.length - 127;
  for (; left >= 128; left = Math.floor(left / 128)) size.push((left % 128) | 128);
  size.push(left);
  return Buffer.concat([Buffer.from(size), raw]);
}

/** A header block: literals that no table remembers. */
export function block(fields: Readonly<Record<string, string>>): Buffer {
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
