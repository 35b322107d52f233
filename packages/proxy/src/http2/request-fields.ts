/**
 * From the fields of an HTTP/2 request to the head of a message (RFC 9113 §8.3.1). What the RFC calls malformed is
 * reset, without an answer; what two readers could understand differently is refused with one.
 */
import type { Refusal, Trust } from "@inmesh/core/spi";
import { isHost, isTarget, REFUSALS } from "@inmesh/http/spi/codec";
import { KIND } from "../fields.ts";
import { isAmbiguous } from "../http1/request-reader.ts";
import { isAnyClient, UNKNOWN_LENGTH, type ClaimLimits, type RequestHead } from "../message.ts";
import type { HeadFields } from "./hpack-decoder.ts";
import {
  BAD_NAME,
  BAD_VALUE,
  CONNECTION_SPECIFIC,
  HpackField,
  knownName,
  NOT_INDEXED,
} from "./hpack-fields.ts";

export interface HeadRules extends ClaimLimits {
  readonly maxTargetBytes: number;
  readonly maxHeaderNameBytes: number;
  readonly maxHeaderValueBytes: number;
}

/** What a listener says of all its requests. */
export interface ListenerRules {
  /** It speaks TLS. */
  readonly secure: boolean;
  /** Names with a `_` are refused. */
  readonly refusesUnderscores: boolean;
  /** Names of claims that stay; undefined: none. */
  readonly kept: ReadonlySet<string> | undefined;
}

/** The stream is reset: what came is no request. */
export const MALFORMED = "malformed";

const COOKIE = knownName("cookie");
const NEVER = BAD_NAME | BAD_VALUE | CONNECTION_SPECIFIC;

/** `ends`: it has no body. Undefined: it is good. */
export function readRequestHead(
  { list, count }: HeadFields,
  head: RequestHead,
  trust: Trust,
  rules: HeadRules,
  { secure, refusesUnderscores, kept }: ListenerRules,
  ends: boolean,
): Refusal | typeof MALFORMED | undefined {
  let method: string | undefined;
  let scheme: string | undefined;
  let authority: string | undefined;
  let path: string | undefined;
  let pathField: HpackField | undefined;
  let host: string | undefined;
  let length = UNKNOWN_LENGTH;
  let cookie: HpackField | undefined;
  let cookies: string | undefined;
  let refusal: Refusal | undefined;
  let regular = false;
  for (let n = 0; n < count; n++) {
    const field = list[n]!;
    const { key, value, flags } = field;
    if (flags !== 0) {
      if ((flags & NEVER) !== 0) return MALFORMED;
      if (regular) return MALFORMED;
      switch (key.text) {
        case ":method":
          if (method !== undefined) return MALFORMED;
          method = value;
          continue;
        case ":scheme":
          if (scheme !== undefined) return MALFORMED;
          scheme = value;
          continue;
        case ":authority":
          if (authority !== undefined) return MALFORMED;
          authority = value;
          continue;
        case ":path":
          if (path !== undefined) return MALFORMED;
          path = value;
          pathField = field;
          continue;
        default:
          return MALFORMED; // :status, :protocol, and any other
      }
    }
    regular = true;
    if (value.length > rules.maxHeaderValueBytes || key.text.length > rules.maxHeaderNameBytes) {
      refusal ??= REFUSALS.header_too_large;
    }
    if (refusesUnderscores && key.hasUnderscore) refusal ??= REFUSALS.bad_header_name;
    switch (key.kind) {
      case KIND.plain:
        if (key === COOKIE) {
          // §8.2.3: crumbs of one field.
          if (cookie === undefined) cookie = field;
          else cookies = `${cookies ?? cookie.value}; ${value}`;
        } else head.fields.add(field);
        continue;
      case KIND.dropped:
        if (kept?.has(key.text) === true) head.fields.add(field);
        continue;
      case KIND.host:
        if (host !== undefined) return MALFORMED;
        host = value;
        continue;
      case KIND.length: {
        // Twice is once too often, as over HTTP/1: RFC 9110 §8.6 leaves it to us where both say the same.
        if (length !== UNKNOWN_LENGTH) return MALFORMED;
        length = lengthOf(value);
        if (length < 0) return MALFORMED;
        continue;
      }
      case KIND.te:
        // §8.2.2
        if (value !== "trailers") return MALFORMED;
        head.takesTrailers = true;
        continue;
      default: {
        const stays = head.note(key.kind, value, trust, rules);
        if (stays === true) head.fields.add(field);
        else if (stays !== false) refusal ??= stays;
      }
    }
  }
  if (cookie !== undefined) {
    head.fields.add(cookies === undefined ? cookie : new HpackField(COOKIE, cookies, NOT_INDEXED));
  }
  head.checkTrace();
  if (method === undefined) return MALFORMED;
  head.method = method;
  if (method === "CONNECT") {
    if (path !== undefined || scheme !== undefined || authority === undefined) return MALFORMED;
    return REFUSALS.method_not_allowed;
  }
  if (path === undefined || path === "" || scheme === undefined) return MALFORMED;
  if (authority === "" || host === "") return MALFORMED;
  head.target = path;
  head.targetField = pathField;
  head.bodyLength = ends ? 0 : length;
  if (ends && length > 0) return MALFORMED;
  if (refusal !== undefined) return refusal;
  if (path.length > rules.maxTargetBytes) return REFUSALS.target_too_long;
  if (method === "TRACE") return REFUSALS.method_not_allowed;
  head.scheme = secure ? "https" : "http";
  if (scheme !== head.scheme) return REFUSALS.bad_target;
  const named = authority ?? host;
  if (named === undefined || !isLegalHost(named)) return REFUSALS.bad_host;
  // §8.3.1: two names of one host would be a way around a policy.
  if (host !== undefined && host !== named) return REFUSALS.bad_host;
  head.authority = named;
  if (path === "*") return method === "OPTIONS" ? undefined : REFUSALS.bad_target;
  return isTarget(path) && !isAmbiguous(path, isAnyClient(trust)) ? undefined : REFUSALS.bad_target;
}

/** The last one that was legal: mostly it is that of the next request, too. */
let legalHost = "";

function isLegalHost(host: string): boolean {
  if (host === legalHost) return true;
  if (!isHost(host)) return false;
  legalHost = host;
  return true;
}

/** Digits alone; -1: it is none. */
export function lengthOf(value: string): number {
  if (value.length === 0 || value.length > 15) return -1;
  let length = 0;
  for (let i = 0; i < value.length; i++) {
    const digit = value.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return -1;
    length = length * 10 + digit;
  }
  return length;
}
