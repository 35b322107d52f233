/**
 * The name in a TLS ClientHello (RFC 8446 §4.1.2, RFC 6066 §3), for connections that are passed on as they are. The hello
 * may be spread over several records (RFC 8446 §5.1), and one with post-quantum keys over several packets. Nothing is
 * decrypted, and nothing else is read of it.
 */

/** A hello that is larger is not looked at any further. */
export const MAX_CLIENT_HELLO_BYTES = 16_384;

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const HOST_NAME = 0;
const RECORD_HEAD_BYTES = 5;
/** A record of plain text holds no more (RFC 8446 §5.1). */
const MAX_RECORD_BYTES = 16_384;
/** RFC 6066: a DNS name as ASCII, without the dot at its end. */
const NAME = /^(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*$/;

export type HelloRead =
  /** There is more to come. */
  | "more"
  /** It begins like TLS, and is no ClientHello. */
  | "wrong"
  | { readonly serverName: string | undefined };

/** True for what a first byte of TLS looks like. */
export function beginsTls(bytes: Buffer): boolean {
  return bytes[0] === HANDSHAKE && (bytes.length < 2 || bytes[1] === 3);
}

export function readClientHello(bytes: Buffer): HelloRead {
  const hello = joined(bytes);
  if (hello === "wrong" || hello.length === 0) return hello === "wrong" ? "wrong" : "more";
  if (hello[0] !== CLIENT_HELLO) return "wrong";
  if (hello.length < 4) return "more";
  const length = hello.readUIntBE(1, 3);
  if (length > MAX_CLIENT_HELLO_BYTES) return "wrong";
  if (hello.length < 4 + length) return "more";
  return { serverName: nameIn(new Reader(hello.subarray(4, 4 + length))) };
}

/** What the records hold, as far as they are here. */
function joined(bytes: Buffer): Buffer | "wrong" {
  const pieces: Buffer[] = [];
  let at = 0;
  while (at + RECORD_HEAD_BYTES <= bytes.length) {
    const length = bytes.readUInt16BE(at + 3);
    // A ClientHello comes before everything else, so each of its records is of that type.
    if (bytes[at] !== HANDSHAKE || bytes[at + 1] !== 3) return "wrong";
    if (length === 0 || length > MAX_RECORD_BYTES) return "wrong";
    pieces.push(bytes.subarray(at + RECORD_HEAD_BYTES, at + RECORD_HEAD_BYTES + length));
    at += RECORD_HEAD_BYTES + length;
  }
  return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
}

/** Undefined also for a hello that breaks off: whom it is passed on to refuses it with an alert of TLS. */
function nameIn(hello: Reader): string | undefined {
  hello.skip(2 + 32); // legacy_version, random
  hello.skip(hello.number(1)); // legacy_session_id
  hello.skip(hello.number(2)); // cipher_suites
  hello.skip(hello.number(1)); // legacy_compression_methods
  const extensions = hello.part(hello.number(2));
  while (extensions.left >= 4) {
    const type = extensions.number(2);
    const extension = extensions.part(extensions.number(2));
    if (type === SERVER_NAME) return firstName(extension.part(extension.number(2)));
  }
  return undefined;
}

function firstName(list: Reader): string | undefined {
  while (list.left >= 3) {
    const type = list.number(1);
    const text = list.part(list.number(2)).text().toLowerCase();
    if (type === HOST_NAME) return text.length <= 253 && NAME.test(text) ? text : undefined;
  }
  return undefined;
}

/** Reads within its bytes: what lies behind them is 0, and has no length. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  number(size: 1 | 2): number {
    if (this.left < size) {
      this.#at = this.#bytes.length;
      return 0;
    }
    const value = this.#bytes.readUIntBE(this.#at, size);
    this.#at += size;
    return value;
  }

  skip(length: number): void {
    this.#at = Math.min(this.#bytes.length, this.#at + length);
  }

  part(length: number): Reader {
    const from = this.#at;
    this.skip(length);
    return new Reader(this.#bytes.subarray(from, this.#at));
  }

  text(): string {
    return this.#bytes.toString("latin1", this.#at);
  }
}
