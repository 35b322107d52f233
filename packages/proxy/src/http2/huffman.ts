/**
 * The Huffman code of HPACK (RFC 7541, Appendix B). It is canonical: codes of one length are numbers that
 * follow each other in the order of their symbols, so the lengths are all that has to be written down.
 */

/** In bits, by byte value. */
// prettier-ignore
const LENGTHS = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
  28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
  5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
  7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
  6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
  24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
  21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
  26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];
const EOS = 256;
const EOS_LENGTH = 30;

const CODES = new Uint32Array(257);
const BITS = Uint8Array.from([...LENGTHS, EOS_LENGTH]);

/**
 * The decoder takes four bits at a time. A state is an inner node of the tree of codes; an entry says which
 * state follows, whether a byte is complete, and which.
 */
const STATES = 256;
const NEXT = 0x01ff;
const FAILED = 0x01ff;
const EMITS = 0x0200;
const BYTE_SHIFT = 10;
const TRANSITIONS = new Uint32Array(STATES * 16);
/** States in which a string may end: up to seven bits of ones have been read since the last byte (§5.2). */
const MAY_END = new Uint8Array(STATES);

function assignCodes(): void {
  const order = Array.from(BITS, (_, symbol) => symbol).sort(
    (a, b) => BITS[a]! - BITS[b]! || a - b,
  );
  let code = 0;
  let length = 0;
  for (const symbol of order) {
    code <<= BITS[symbol]! - length;
    length = BITS[symbol]!;
    CODES[symbol] = code++;
  }
}

/** Children of an inner node: another inner node, or `STATES` and the symbol of a leaf. */
function buildTree(): Int32Array {
  const children = new Int32Array(STATES * 2).fill(-1);
  let nodes = 1;
  for (let symbol = 0; symbol <= EOS; symbol++) {
    let node = 0;
    for (let bit = BITS[symbol]! - 1; bit >= 0; bit--) {
      const at = node * 2 + ((CODES[symbol]! >>> bit) & 1);
      if (bit === 0) children[at] = STATES + symbol;
      else if (children[at] === -1) children[at] = nodes++;
      node = children[at]!;
    }
  }
  return children;
}

function buildTransitions(): void {
  const children = buildTree();
  for (let state = 0; state < STATES; state++) {
    for (let nibble = 0; nibble < 16; nibble++) {
      TRANSITIONS[state * 16 + nibble] = transition(children, state, nibble);
    }
  }
  let node = 0;
  for (let ones = 0; ones <= 7; ones++) {
    MAY_END[node] = 1;
    node = children[node * 2 + 1]!;
  }
}

function transition(children: Int32Array, state: number, nibble: number): number {
  let node = state;
  let emitted = 0;
  for (let bit = 3; bit >= 0; bit--) {
    const child = children[node * 2 + ((nibble >>> bit) & 1)]!;
    if (child < STATES) node = child;
    else if (child === STATES + EOS) return FAILED;
    else {
      emitted = EMITS | ((child - STATES) << BYTE_SHIFT);
      node = 0;
    }
  }
  return node | emitted;
}

assignCodes();
buildTransitions();

/**
 * Decodes `bytes[from..to)` into `target`, which has room for eight fifths of it. Gives the number of bytes, or
 * -1 where the code is none: it holds the end-of-string symbol, or is padded with more than seven bits or with
 * others than ones.
 */
export function decodeHuffman(
  bytes: Uint8Array,
  from: number,
  to: number,
  target: Uint8Array,
): number {
  let state = 0;
  let length = 0;
  for (let at = from; at < to; at++) {
    const byte = bytes[at]!;
    let entry = TRANSITIONS[state * 16 + (byte >>> 4)]!;
    state = entry & NEXT;
    if (state === FAILED) return -1;
    if ((entry & EMITS) !== 0) target[length++] = entry >>> BYTE_SHIFT;
    entry = TRANSITIONS[state * 16 + (byte & 15)]!;
    state = entry & NEXT;
    if (state === FAILED) return -1;
    if ((entry & EMITS) !== 0) target[length++] = entry >>> BYTE_SHIFT;
  }
  return MAY_END[state] === 1 ? length : -1;
}

/** Bytes that the text, whose characters are bytes, has in this code. */
export function huffmanLength(text: string): number {
  let bits = 0;
  for (let at = 0; at < text.length; at++) bits += BITS[text.charCodeAt(at)]!;
  return (bits + 7) >>> 3;
}

/** Writes the text at `at`, where there is room for it, and gives the place behind it. */
export function encodeHuffman(text: string, target: Uint8Array, at: number): number {
  let to = at;
  /** Fewer than eight bits are left of the last symbol: with 30 more they do not fit into 32. */
  let rest = 0;
  let left = 0;
  for (let i = 0; i < text.length; i++) {
    const symbol = text.charCodeAt(i);
    let bits = BITS[symbol]!;
    const code = CODES[symbol]!;
    while (bits > 0) {
      const take = Math.min(8 - left, bits);
      rest = (rest << take) | ((code >>> (bits - take)) & ((1 << take) - 1));
      left += take;
      bits -= take;
      if (left === 8) {
        target[to++] = rest;
        rest = 0;
        left = 0;
      }
    }
  }
  if (left > 0) target[to++] = (rest << (8 - left)) | ((1 << (8 - left)) - 1);
  return to;
}
