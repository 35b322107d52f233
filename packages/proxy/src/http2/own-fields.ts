/** Fields that this codec itself writes. */
import { formatGrpcTimeout } from "@inmesh/core/spi";
import { HpackField, INDEXED, knownName, NOT_INDEXED, type Name } from "./hpack-fields.ts";

const STATUS = knownName(":status");
const LENGTH = knownName("content-length");
const statuses: (HpackField | undefined)[] = [];

export function statusField(status: number): HpackField {
  return (statuses[status] ??= new HpackField(STATUS, String(status), INDEXED));
}

let lastLength = -1;
let lastField: HpackField;

/** Replies of a service often have one length. */
export function lengthField(bytes: number): HpackField {
  if (bytes !== lastLength) {
    lastLength = bytes;
    lastField = new HpackField(LENGTH, String(bytes), NOT_INDEXED);
  }
  return lastField;
}

export const TE_TRAILERS: HpackField = new HpackField(knownName("te"), "trailers", INDEXED);
export const EXPECT_CONTINUE: HpackField = new HpackField(
  knownName("expect"),
  "100-continue",
  INDEXED,
);

const METHOD = knownName(":method");
const SCHEME = knownName(":scheme");
const AUTHORITY = knownName(":authority");
const PATH = knownName(":path");
const MAX_KEPT = 256;
const methods = new Map<string, HpackField>();
const authorities = new Map<string, HpackField>();
let lastMethod: HpackField | undefined;
let lastAuthority: HpackField | undefined;
const HTTP = new HpackField(SCHEME, "http", INDEXED);
const HTTPS = new HpackField(SCHEME, "https", INDEXED);

export function methodField(method: string): HpackField {
  if (lastMethod?.value === method) return lastMethod;
  const found = methods.get(method);
  return (lastMethod = found ?? keep(methods, method, new HpackField(METHOD, method, INDEXED)));
}

export function schemeField(secure: boolean): HpackField {
  return secure ? HTTPS : HTTP;
}

export function authorityField(authority: string): HpackField {
  if (lastAuthority?.value === authority) return lastAuthority;
  const found = authorities.get(authority);
  const field =
    found ?? keep(authorities, authority, new HpackField(AUTHORITY, authority, INDEXED));
  return (lastAuthority = field);
}

export const GRPC_TIMEOUT: Name = knownName("grpc-timeout");

export function grpcTimeoutField(ms: number): HpackField {
  return new HpackField(GRPC_TIMEOUT, formatGrpcTimeout(ms), NOT_INDEXED);
}

export function pathField(path: string): HpackField {
  return new HpackField(PATH, path, NOT_INDEXED);
}

/** What peers choose is bounded. */
function keep(all: Map<string, HpackField>, text: string, field: HpackField): HpackField {
  if (all.size >= MAX_KEPT) all.clear();
  all.set(text, field);
  return field;
}
