/**
 * Whether the records of a packet are as long as they say. The decoder of packets does not look: it
 * reads as many bytes as a type usually has, and takes those of the next record where there are fewer.
 */
const HEADER_BYTES = 12;
const CLASS_IN = 1;
/** The highest bit has another meaning in multicast DNS, and the decoder drops it. */
const CLASS_MASK = 0x7fff;

const A = 1;
const CNAME = 5;
const AAAA = 28;
const SRV = 33;

/** Of a packet that could be decoded. An address of another length is none (RFC 1035 §3.4.1, RFC 3596 §2.2). */
export function lengthsFit(bytes: Buffer): boolean {
  try {
    return recordsFit(bytes);
  } catch {
    return false; // it is read beyond its end
  }
}

function recordsFit(bytes: Buffer): boolean {
  const [questions = 0, ...records] = [4, 6, 8, 10].map((at) => bytes.readUInt16BE(at));
  let at = HEADER_BYTES;
  for (let i = 0; i < questions; i++) at = nameEnd(bytes, at) + 4;
  for (let left = records.reduce((sum, count) => sum + count, 0); left > 0; left--) {
    at = nameEnd(bytes, at);
    const type = bytes.readUInt16BE(at);
    const isIn = (bytes.readUInt16BE(at + 2) & CLASS_MASK) === CLASS_IN;
    const start = at + 10;
    const end = start + bytes.readUInt16BE(at + 8);
    if (end > bytes.length || (isIn && endOf(bytes, type, start, end) !== end)) return false;
    at = end;
  }
  return true;
}

/** Where the data of a type ends; types that nothing here reads end where they say. */
function endOf(bytes: Buffer, type: number, start: number, saidEnd: number): number {
  switch (type) {
    case A:
      return start + 4;
    case AAAA:
      return start + 16;
    case CNAME:
      return nameEnd(bytes, start);
    case SRV:
      return nameEnd(bytes, start + 6);
    default:
      return saidEnd;
  }
}

/** Behind its last label or its pointer, which is not followed. */
function nameEnd(bytes: Buffer, start: number): number {
  let at = start;
  for (;;) {
    const length = bytes.readUInt8(at);
    if (length >= 0xc0) return at + 2;
    at += 1 + length;
    if (length === 0) return at;
  }
}
