/** A certificate authority for tests: certificates of any validity, name and issuer, on node:crypto alone. */
import { generateKeyPairSync, randomBytes, sign, type KeyObject } from "node:crypto";
import { isIP } from "node:net";

export interface Issued {
  readonly cert: string;
  readonly key: string;
}

export interface IssueOptions {
  /** DNS names and IP addresses. Default: `svc`, `localhost`, 127.0.0.1. */
  readonly names?: readonly string[];
  /** URIs beside them, such as a SPIFFE id. Default: none. */
  readonly uris?: readonly string[];
  /** Wall-clock milliseconds. Default: an hour ago. */
  readonly notBefore?: number;
  /** Default: in a day. */
  readonly notAfter?: number;
}

const HOUR_MS = 3_600_000;

export class TestCa {
  /** The authority's own certificate. */
  readonly cert: string;
  readonly #name: string;
  readonly #key: KeyObject;

  constructor(name = "test authority") {
    const { publicKey, privateKey } = keyPair();
    this.#name = name;
    this.#key = privateKey;
    this.cert = certificate(name, name, publicKey, privateKey, true, {});
  }

  issue(options: IssueOptions = {}): Issued {
    const { publicKey, privateKey } = keyPair();
    const cert = certificate("leaf", this.#name, publicKey, this.#key, false, options);
    return { cert, key: pemKey(privateKey) };
  }
}

/** Signed by itself. */
export function selfSigned(options: IssueOptions = {}): Issued {
  const { publicKey, privateKey } = keyPair();
  const cert = certificate("leaf", "leaf", publicKey, privateKey, false, options);
  return { cert, key: pemKey(privateKey) };
}

function keyPair(): { publicKey: KeyObject; privateKey: KeyObject } {
  return generateKeyPairSync("ec", { namedCurve: "P-256" });
}

function pemKey(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}

// ── DER ─────────────────────────────────────────────────────────────────────────────────────────

function der(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  const { length } = content;
  const size =
    length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

const sequence = (...items: readonly Uint8Array[]): Buffer => der(0x30, ...items);
const bytes = (...values: readonly number[]): Buffer => Buffer.from(values);

function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split(".").map(Number);
  const arcs = rest.flatMap((arc) => {
    const groups = [arc & 127];
    for (let left = arc >> 7; left > 0; left >>= 7) groups.unshift((left & 127) | 128);
    return groups;
  });
  return der(6, bytes(first * 40 + second, ...arcs));
}

function time(ms: number): Buffer {
  const text = new Date(ms).toISOString().replace(/[-:T]/g, "").slice(0, 14);
  return der(0x18, Buffer.from(`${text}Z`));
}

function nameOf(common: string): Buffer {
  return sequence(der(0x31, sequence(oid("2.5.4.3"), der(0x0c, Buffer.from(common)))));
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  const flag = critical ? [der(1, bytes(0xff))] : [];
  return sequence(oid(id), ...flag, der(4, value));
}

function alternative(name: string): Buffer {
  return isIP(name) === 4
    ? der(0x87, bytes(...name.split(".").map(Number)))
    : der(0x82, Buffer.from(name));
}

function certificate(
  subject: string,
  issuer: string,
  publicKey: KeyObject,
  signer: KeyObject,
  authority: boolean,
  options: IssueOptions,
): string {
  const now = Date.now();
  const {
    names = ["svc", "localhost", "127.0.0.1"],
    uris = [],
    notBefore = now - HOUR_MS,
    notAfter = now + 24 * HOUR_MS,
  } = options;
  const algorithm = sequence(oid("1.2.840.10045.4.3.2")); // ecdsa-with-SHA256
  const serial = randomBytes(8);
  serial[0] = (serial[0]! & 0x7f) | 1;
  const extensions = authority
    ? [
        extension("2.5.29.19", true, sequence(der(1, bytes(0xff)))),
        extension("2.5.29.15", true, der(3, bytes(1, 0x06))), // keyCertSign, cRLSign
      ]
    : [
        extension("2.5.29.15", true, der(3, bytes(7, 0x80))), // digitalSignature
        extension(
          "2.5.29.17",
          false,
          sequence(...names.map(alternative), ...uris.map((uri) => der(0x86, Buffer.from(uri)))),
        ),
      ];
  const body = sequence(
    der(0xa0, der(2, bytes(2))),
    der(2, serial),
    algorithm,
    nameOf(issuer),
    sequence(time(notBefore), time(notAfter)),
    nameOf(subject),
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, sequence(...extensions)),
  );
  const signature = sign("sha256", body, { key: signer, dsaEncoding: "der" });
  const whole = sequence(body, algorithm, der(3, bytes(0), signature));
  const lines = whole.toString("base64").replace(/.{64}/g, "$&\n").trimEnd();
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}
