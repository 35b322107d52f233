/**
 * Fields of HTTP/2 heads, kept by the bytes that they came as: a field that comes again costs a comparison, no
 * text and no object. What is found out about a field (is it legal, where does the static table have it) is
 * found out once, when it is made.
 *
 * The cache is one for the process, has a fixed number of places and no chains: a field takes the place of
 * another one, so no choice of fields makes it slow or large. What its sender calls never indexed is not kept.
 */
import { isAllowedTrailer, TIMEOUT_MS } from "@inmesh/http/spi/codec";
import { Field, KIND, kindOf, type FieldKind } from "../fields.ts";
import { decodeHuffman } from "./huffman.ts";
import { FIELD_OVERHEAD, STATIC_COUNT, STATIC_TABLE } from "./tables.ts";

/** Not a legal name (RFC 9113 §8.2.1). */
export const BAD_NAME = 1;
/** NUL, CR, LF or another control character in the value, or a space around it (§8.2.1). */
export const BAD_VALUE = 2;
/** It begins with a colon. */
export const PSEUDO = 4;
/** Of a connection of HTTP/1 (§8.2.2): no message of HTTP/2 may have it. */
export const CONNECTION_SPECIFIC = 8;

/** How its sender wants a field to be treated (RFC 7541 §6.2); an intermediary keeps to it. */
export const INDEXED = 0;
export const NOT_INDEXED = 1;
export const NEVER_INDEXED = 2;
export type Indexing = typeof INDEXED | typeof NOT_INDEXED | typeof NEVER_INDEXED;

const CONNECTION_NAMES = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
]);
/** Numbers that differ from message to message: in a dynamic table they would only push others out. */
const NUMBER_NAMES = new Set(["age", "content-length", "grpc-timeout", TIMEOUT_MS]);
/** The same of texts, which hardly come again: to look for one costs more than to read it, and it would push others out here too. */
const CHANGING_NAMES = new Set([
  ":path",
  "content-range",
  "etag",
  "if-modified-since",
  "if-none-match",
  "last-modified",
  "location",
  "set-cookie",
  "traceparent",
  "x-request-id",
]);
/** What they hold could be guessed byte by byte from the size of a table (RFC 7541 §7.1). */
const SECRET_NAMES = new Set(["authorization", "proxy-authorization"]);

/** What a byte of a name may be, in lower case (RFC 9110 §5.6.2). */
const NAME_BYTES = new Uint8Array(256);
for (const char of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") {
  NAME_BYTES[char.charCodeAt(0)] = 1;
}

export class Name {
  readonly text: string;
  readonly flags: number;
  /** First place in the static table; 0: none. */
  readonly staticIndex: number;
  /** How fields of this name are sent that say nothing themselves. */
  readonly indexing: Indexing;
  /** Its fields are worth a place in the cache. */
  readonly isKept: boolean;
  readonly hash: number;
  /** What it is to who forwards it. */
  readonly kind: FieldKind;
  /** It may stand behind a body. */
  readonly isTrailer: boolean;
  readonly hasUnderscore: boolean;
  /** The field of this name that was made last of a text: mostly the same is wanted again. Writer: `fieldOf`. */
  last: HpackField | undefined = undefined;
  /** The same of bytes: where it stands in the cache. Writer: `readField`. */
  lastPlace = 0;

  constructor(text: string) {
    this.text = text;
    this.kind = kindOf(text);
    this.hasUnderscore = text.includes("_");
    this.isTrailer = this.kind === KIND.plain && isAllowedTrailer(text);
    this.flags = nameFlags(text);
    this.staticIndex = STATIC_NAMES.get(text) ?? 0;
    this.isKept = !CHANGING_NAMES.has(text) && !SECRET_NAMES.has(text);
    this.indexing = SECRET_NAMES.has(text)
      ? NEVER_INDEXED
      : this.isKept && !NUMBER_NAMES.has(text)
        ? INDEXED
        : NOT_INDEXED;
    let hash = 0x811c9dc5;
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    this.hash = hash;
  }
}

export class HpackField extends Field {
  readonly key: Name;
  /** As RFC 7541 §4.1 and RFC 9113 §6.5.2 count. */
  readonly size: number;
  readonly flags: number;
  /** Place of name and value in the static table; 0: none. */
  readonly staticIndex: number;
  readonly indexing: Indexing;

  constructor(key: Name, value: string, indexing: Indexing) {
    super(key.text, value);
    this.key = key;
    this.size = key.text.length + value.length + FIELD_OVERHEAD;
    this.flags = key.flags | (key === METHOD ? methodFlags(value) : valueFlags(value));
    this.staticIndex = staticIndexOf(key, value);
    this.indexing = Math.max(indexing, key.indexing) as Indexing;
  }
}

function nameFlags(text: string): number {
  if (text.charCodeAt(0) === 58) return isName(text, 1) ? PSEUDO : PSEUDO | BAD_NAME;
  if (!isName(text, 0)) return BAD_NAME;
  return CONNECTION_NAMES.has(text) ? CONNECTION_SPECIFIC : 0;
}

function isName(text: string, from: number): boolean {
  if (text.length === from) return false;
  for (let i = from; i < text.length; i++) if (NAME_BYTES[text.charCodeAt(i)] !== 1) return false;
  return true;
}

function valueFlags(value: string): number {
  const { length } = value;
  if (length === 0) return 0;
  if (isSpace(value.charCodeAt(0)) || isSpace(value.charCodeAt(length - 1))) return BAD_VALUE;
  for (let i = 0; i < length; i++) {
    const code = value.charCodeAt(i);
    if ((code < 32 && code !== 9) || code === 127) return BAD_VALUE;
  }
  return 0;
}

/** A method is a token of reasonable length, in any case. */
const METHOD_TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}$/;

function methodFlags(value: string): number {
  return METHOD_TOKEN.test(value) ? 0 : BAD_VALUE;
}

function isSpace(code: number): boolean {
  return code === 32 || code === 9;
}

const STATIC_NAMES = new Map<string, number>();
for (let i = STATIC_COUNT - 1; i >= 0; i--) STATIC_NAMES.set(STATIC_TABLE[i]![0], i + 1);

function staticIndexOf(name: Name, value: string): number {
  let at = name.staticIndex;
  if (at === 0) return 0;
  for (; at <= STATIC_COUNT && STATIC_TABLE[at - 1]![0] === name.text; at++) {
    if (STATIC_TABLE[at - 1]![1] === value) return at;
  }
  return 0;
}

/**
 * Names by their text, each once, so that they are compared by identity. Those with a meaning here stay, of others there
 * are as many as a process may reasonably have.
 */
const names = new Map<string, Name>();
const known: Name[] = [];
const MAX_NAMES = 1_024;

export function knownName(text: string): Name {
  const made = names.get(text);
  if (made !== undefined) return made;
  const name = new Name(text);
  known.push(name);
  names.set(text, name);
  return name;
}

const METHOD = knownName(":method");

/** By index; nothing stands at 0. */
export const STATIC_FIELDS: readonly HpackField[] = [
  new HpackField(knownName(":none"), "", INDEXED),
  ...STATIC_TABLE.map(([name, value]) => new HpackField(knownName(name), value, INDEXED)),
];

export function nameOf(text: string): Name {
  const made = names.get(text);
  if (made !== undefined) return made;
  const name = new Name(text);
  if (text.length > MAX_NAME_BYTES) return name;
  if (names.size >= MAX_NAMES) {
    names.clear();
    for (const one of known) names.set(one.text, one);
  }
  names.set(text, name);
  return name;
}

/** The field of a text that another codec, or the mesh, has made. */
export function fieldOf(text: string, value: string): HpackField {
  const name = nameOf(text);
  const { last } = name;
  if (last !== undefined && last.value === value) return last;
  const field = new HpackField(name, value, INDEXED);
  if (name.isKept && value.length <= MAX_VALUE_BYTES) name.last = field;
  return field;
}

const NAME_PLACES = 512;
const MAX_NAME_BYTES = 64;
const FIELD_PLACES = 4_096;
const MAX_VALUE_BYTES = 128;
const HUFFMAN = 1;
const WITHOUT = 2;
const LENGTH_SHIFT = 2;

const nameTexts = new Uint8Array(NAME_PLACES * MAX_NAME_BYTES);
/** Length and coding of what stands in a place. */
const nameKeys = new Uint16Array(NAME_PLACES);
const nameAt: (Name | undefined)[] = Array.from({ length: NAME_PLACES }, () => undefined);
const valueTexts = new Uint8Array(FIELD_PLACES * MAX_VALUE_BYTES);
const valueKeys = new Uint16Array(FIELD_PLACES);
const fields: (HpackField | undefined)[] = Array.from({ length: FIELD_PLACES }, () => undefined);

/** The name that stands in `bytes[from..to)`. Undefined: its code is none. */
export function readName(
  bytes: Buffer,
  from: number,
  to: number,
  huffman: boolean,
): Name | undefined {
  const length = to - from;
  if (length > MAX_NAME_BYTES) {
    const text = readText(bytes, from, to, huffman);
    return text === undefined ? undefined : nameOf(text);
  }
  let hash = huffman ? 0x811c9dc5 : 0x1234567;
  for (let at = from; at < to; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193);
  const place = (hash ^ (hash >>> 15)) & (NAME_PLACES - 1);
  const key = (length << LENGTH_SHIFT) | (huffman ? HUFFMAN : 0);
  const kept = nameAt[place];
  if (
    kept !== undefined &&
    nameKeys[place] === key &&
    isSame(bytes, from, length, nameTexts, place * MAX_NAME_BYTES)
  ) {
    return kept;
  }
  const text = readText(bytes, from, to, huffman);
  if (text === undefined) return undefined;
  const name = nameOf(text);
  nameAt[place] = name;
  nameKeys[place] = key;
  nameTexts.set(bytes.subarray(from, to), place * MAX_NAME_BYTES);
  return name;
}

/** The field of this name whose value stands in `bytes[from..to)`. Undefined: its code is none. */
export function readField(
  name: Name,
  bytes: Buffer,
  from: number,
  to: number,
  huffman: boolean,
  indexing: Indexing,
): HpackField | undefined {
  const length = to - from;
  if (indexing === NEVER_INDEXED || !name.isKept || length > MAX_VALUE_BYTES) {
    const text = readText(bytes, from, to, huffman);
    return text === undefined ? undefined : new HpackField(name, text, indexing);
  }
  const key =
    (length << LENGTH_SHIFT) | (huffman ? HUFFMAN : 0) | (indexing === NOT_INDEXED ? WITHOUT : 0);
  const last = keptAt(name.lastPlace, key, name, bytes, from, length);
  if (last !== undefined) return last;
  let { hash } = name;
  for (let at = from; at < to; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193);
  const place = (hash ^ (hash >>> 15)) & (FIELD_PLACES - 1);
  name.lastPlace = place;
  const kept = keptAt(place, key, name, bytes, from, length);
  if (kept !== undefined) return kept;
  const text = readText(bytes, from, to, huffman);
  if (text === undefined) return undefined;
  const field = new HpackField(name, text, indexing);
  fields[place] = field;
  valueKeys[place] = key;
  valueTexts.set(bytes.subarray(from, to), place * MAX_VALUE_BYTES);
  return field;
}

/** Undefined: something else stands in that place of the cache. */
function keptAt(
  place: number,
  key: number,
  name: Name,
  bytes: Buffer,
  from: number,
  length: number,
): HpackField | undefined {
  if (valueKeys[place] !== key) return undefined;
  const kept = fields[place];
  if (kept === undefined || (kept.key !== name && kept.name !== name.text)) return undefined;
  return isSame(bytes, from, length, valueTexts, place * MAX_VALUE_BYTES) ? kept : undefined;
}

function isSame(
  bytes: Uint8Array,
  from: number,
  length: number,
  kept: Uint8Array,
  at: number,
): boolean {
  for (let i = 0; i < length; i++) if (bytes[from + i] !== kept[at + i]) return false;
  return true;
}

let scratch = Buffer.allocUnsafeSlow(4_096);

function readText(bytes: Buffer, from: number, to: number, huffman: boolean): string | undefined {
  if (!huffman) return from === to ? "" : bytes.toString("latin1", from, to);
  const most = (to - from) * 2;
  if (scratch.length < most) scratch = Buffer.allocUnsafeSlow(most);
  const length = decodeHuffman(bytes, from, to, scratch);
  return length < 0 ? undefined : scratch.toString("latin1", 0, length);
}
