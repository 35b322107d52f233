/**
 * The PROXY protocol, versions 1 and 2 (haproxy's doc/proxy-protocol.txt, 2020): who the client is that a balancer in
 * front has accepted, and where it had connected to. The reader is strict, because a peer that writes such a header says who
 * the client is; it is asked for by a listener, never found out. Only an IPv4 or IPv6 address and a port are taken
 * from it: TLVs are skipped.
 */
import { isIPv4, isIPv6 } from "node:net";
import type { PeerAddress } from "./accepted.ts";

/** Longest header of version 1 with its CRLF, by the specification. */
const MAX_V1_BYTES = 107;
/** The specification asks receivers for at least 536 of version 2; TLVs with certificates are larger. */
const MAX_V2_BYTES = 4_096;
const V2_SIGNATURE = Buffer.from("0d0a0d0a000d0a515549540a", "hex");
const V2_HEAD_BYTES = 16;
const V1_SIGNATURE = Buffer.from("PROXY ", "latin1");

/** More than any header has. */
export const MAX_HEADER_BYTES: number = V2_HEAD_BYTES + MAX_V2_BYTES;

export interface ProxyHeader {
  /** Bytes that it takes. */
  readonly length: number;
  /** Undefined: the sender speaks for itself (`LOCAL`, `UNKNOWN`), or the addresses are of another family. */
  readonly client: PeerAddress | undefined;
  readonly target: PeerAddress | undefined;
}

/** `more`: it is not here as a whole. A text says what is wrong; the connection must be closed then. */
export type HeaderRead = "more" | { readonly wrong: string } | ProxyHeader;

export function readHeader(bytes: Buffer): HeaderRead {
  if (bytes.length === 0) return "more";
  if (begins(bytes, V2_SIGNATURE)) return bytes.length < V2_HEAD_BYTES ? "more" : readV2(bytes);
  if (begins(bytes, V1_SIGNATURE)) return readV1(bytes);
  return { wrong: "it begins with no header of the PROXY protocol" };
}

function begins(bytes: Buffer, signature: Buffer): boolean {
  const shared = Math.min(bytes.length, signature.length);
  return bytes.compare(signature, 0, shared, 0, shared) === 0;
}

// ── version 1 ──────────────────────────────────────────────────────────────────────────────────

function readV1(bytes: Buffer): HeaderRead {
  const end = bytes.subarray(0, MAX_V1_BYTES).indexOf("\r\n");
  if (end < 0) {
    return bytes.length < MAX_V1_BYTES
      ? "more"
      : { wrong: `its first line has no end within ${MAX_V1_BYTES} bytes` };
  }
  const length = end + 2;
  const line = bytes.toString("latin1", 0, end);
  // What follows UNKNOWN has to be ignored, by the specification.
  if (line === "PROXY UNKNOWN" || line.startsWith("PROXY UNKNOWN ")) {
    return { length, client: undefined, target: undefined };
  }
  const words = line.split(" ");
  const [, family, from = "", to = "", fromPort = "", toPort = ""] = words;
  const isAddress = family === "TCP4" ? isIPv4 : family === "TCP6" ? isIPv6 : undefined;
  if (isAddress === undefined) return { wrong: "its family is not TCP4, TCP6 or UNKNOWN" };
  if (words.length !== 6) return { wrong: "it does not have two addresses and two ports" };
  if (!isAddress(from) || !isAddress(to) || from.includes("%") || to.includes("%")) {
    return { wrong: `its addresses are not those of ${family}` };
  }
  const [clientPort, targetPort] = [portOf(fromPort), portOf(toPort)];
  if (clientPort === undefined || targetPort === undefined) {
    return { wrong: "its ports are not numbers from 0 to 65535" };
  }
  return {
    length,
    client: { address: from, port: clientPort },
    target: { address: to, port: targetPort },
  };
}

/** Without leading zeros, by the specification. */
function portOf(text: string): number | undefined {
  const port = /^(?:0|[1-9]\d{0,4})$/.test(text) ? Number(text) : Number.NaN;
  return port <= 65_535 ? port : undefined;
}

// ── version 2 ──────────────────────────────────────────────────────────────────────────────────

const LOCAL = 0x20;
const PROXY = 0x21;
/** Bytes of both addresses and both ports, by family. Others are accepted and not read: UDP, Unix sockets. */
const ADDRESS_BYTES: Readonly<Record<number, number>> = { 0x11: 4, 0x21: 16 };
const LEAST_BYTES: Readonly<Record<number, number>> = {
  0x00: 0,
  0x11: 12,
  0x12: 12,
  0x21: 36,
  0x22: 36,
  0x31: 216,
  0x32: 216,
};

function readV2(bytes: Buffer): HeaderRead {
  const command = bytes[12]!;
  const family = bytes[13]!;
  const length = bytes.readUInt16BE(14);
  if (command !== LOCAL && command !== PROXY) return { wrong: "its version or command is unknown" };
  if (length > MAX_V2_BYTES) return { wrong: `it announces more than ${MAX_V2_BYTES} bytes` };
  const least = LEAST_BYTES[family];
  if (least === undefined) return { wrong: "its family or transport is unknown" };
  if (command === PROXY && length < least) return { wrong: "it is too short for its addresses" };
  const whole = V2_HEAD_BYTES + length;
  if (bytes.length < whole) return "more";
  const size = ADDRESS_BYTES[family];
  if (command === LOCAL || size === undefined) {
    return { length: whole, client: undefined, target: undefined };
  }
  const at = V2_HEAD_BYTES;
  const ports = at + 2 * size;
  return {
    length: whole,
    client: { address: ipText(bytes, at, size), port: bytes.readUInt16BE(ports) },
    target: { address: ipText(bytes, at + size, size), port: bytes.readUInt16BE(ports + 2) },
  };
}

function ipText(bytes: Buffer, at: number, size: number): string {
  if (size === 4) return bytes.subarray(at, at + 4).join(".");
  const words: string[] = [];
  for (let i = 0; i < 16; i += 2) words.push(bytes.readUInt16BE(at + i).toString(16));
  // As Node writes it: in its shortest form.
  return new URL(`http://[${words.join(":")}]`).hostname.slice(1, -1);
}

// ── writing ────────────────────────────────────────────────────────────────────────────────────

export type ProxyVersion = "v1" | "v2";

/** For an upstream that asks for it. Addresses of different families, or unknown ones, are said to be unknown. */
export function writeHeader(
  version: ProxyVersion,
  client: PeerAddress | undefined,
  target: PeerAddress | undefined,
): Buffer {
  const family = familyOf(client, target);
  return version === "v1" ? writeV1(family, client, target) : writeV2(family, client, target);
}

function familyOf(
  client: PeerAddress | undefined,
  target: PeerAddress | undefined,
): 4 | 6 | undefined {
  if (client === undefined || target === undefined) return undefined;
  if (isIPv4(client.address) && isIPv4(target.address)) return 4;
  return isIPv6(client.address) && isIPv6(target.address) ? 6 : undefined;
}

function writeV1(
  family: 4 | 6 | undefined,
  client: PeerAddress | undefined,
  target: PeerAddress | undefined,
): Buffer {
  if (family === undefined) return Buffer.from("PROXY UNKNOWN\r\n", "latin1");
  const { address: from, port: fromPort } = client!;
  const { address: to, port: toPort } = target!;
  return Buffer.from(`PROXY TCP${family} ${from} ${to} ${fromPort} ${toPort}\r\n`, "latin1");
}

function writeV2(
  family: 4 | 6 | undefined,
  client: PeerAddress | undefined,
  target: PeerAddress | undefined,
): Buffer {
  const size = family === undefined ? 0 : family === 4 ? 4 : 16;
  const header = Buffer.alloc(V2_HEAD_BYTES + (size === 0 ? 0 : 2 * size + 4));
  V2_SIGNATURE.copy(header);
  header[12] = size === 0 ? LOCAL : PROXY;
  header[13] = size === 0 ? 0 : size === 4 ? 0x11 : 0x21;
  header.writeUInt16BE(header.length - V2_HEAD_BYTES, 14);
  if (size === 0) return header;
  let at = V2_HEAD_BYTES;
  for (const { address } of [client!, target!]) {
    ipBytes(address).copy(header, at);
    at += size;
  }
  header.writeUInt16BE(client!.port, at);
  header.writeUInt16BE(target!.port, at + 2);
  return header;
}

function ipBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split(".").map(Number));
  // In its shortest form: at most one `::`, and an embedded IPv4 address as two words.
  const host = new URL(`http://[${address.replace(/%.*$/, "")}]`).hostname.slice(1, -1);
  const [head = "", tail] = host.split("::");
  const front = head === "" ? [] : head.split(":");
  const back = tail === undefined || tail === "" ? [] : tail.split(":");
  const words = [...front, ...Array<string>(8 - front.length - back.length).fill("0"), ...back];
  const bytes = Buffer.alloc(16);
  for (const [i, word] of words.entries()) bytes.writeUInt16BE(Number.parseInt(word, 16), i * 2);
  return bytes;
}
