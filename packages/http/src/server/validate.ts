/**
 * What bare Node serves and we refuse, because two readers could understand it differently: which
 * host, which path, which framing, where a request ends. Each rule has the answer it gives; the head
 * fields themselves are looked at in inbound.ts.
 */
import type { IncomingMessage } from "node:http";
import type { Refusal } from "@inmesh/core/spi";
import type { Inbound } from "./inbound.ts";
import type { ServerLimits } from "./limits.ts";
import { REFUSALS } from "./refusals.ts";

/** `uri-host [":" port]` of RFC 3986, an IPv6 address in brackets, no zone. */
const HOST = /^(?:\[[0-9a-f:.]{2,45}\]|(?:[a-z0-9\-._~!$&'()*+,;=]|%[0-9a-f]{2})+)(?::\d{1,5})?$/i;
/**
 * Origin form, without a fragment, controls, or bytes beyond ASCII. RFC 3986 asks for more to be
 * encoded than URL parsers of browsers and `fetch` do: what they leave (`|` and `^`, in queries also
 * backslash, backtick and braces) is let through, or every filter written as JSON would be refused.
 */
const TARGET = { path: /[!$-;=@-[\]^_a-z|~]/, query: /[!$-;=?-~]/ };
/** What a byte may be part of, looked up: a request pays a tenth of what an expression costs. */
export const IN_PATH = 1;
export const IN_QUERY = 2;
export const TARGET_BYTES: Uint8Array = Uint8Array.from({ length: 128 }, (_, byte) => {
  const char = String.fromCharCode(byte);
  return (TARGET.path.test(char) ? IN_PATH : 0) | (TARGET.query.test(char) ? IN_QUERY : 0);
});
export const ABSOLUTE: RegExp = /^([a-z][a-z0-9+.-]*):\/\/([^/?]*)(.*)$/i;

export class Validator {
  readonly #limits: ServerLimits;
  readonly #secure: boolean;
  /** The last one found good: nearly every request has the same. */
  #host: string | undefined = undefined;

  /** `secure`: the listener speaks TLS, so absolute targets say https. */
  constructor(limits: ServerLimits, secure: boolean) {
    this.#limits = limits;
    this.#secure = secure;
  }

  /** Both versions. The head fields have been read. */
  check(inbound: Inbound): Refusal | undefined {
    const { request } = inbound;
    const { method } = request;
    const target = request.url!;
    if (target.length > this.#limits.maxTargetBytes) return REFUSALS.target_too_long;
    if (method === "TRACE") return REFUSALS.method_not_allowed;
    if (inbound.expect !== undefined && !/^100-continue$/i.test(inbound.expect)) {
      return REFUSALS.expectation;
    }
    if (inbound.http2) return this.#check2(inbound, target);
    const { httpVersionMajor, httpVersionMinor } = request;
    if (httpVersionMajor === 1 && httpVersionMinor < 2) {
      // A coding says how a body ends, and 1.0 knows none: framing that two may read differently.
      if (httpVersionMinor === 0 && inbound.chunked) return REFUSALS.bad_framing;
      return this.#check1(inbound, target);
    }
    return httpVersionMajor === 0 ? REFUSALS.bad_target : REFUSALS.bad_version;
  }

  /** What no connection brought: nothing can be misread in its framing, and adapters write targets their way. */
  checkInjected({ request, host }: Inbound): Refusal | undefined {
    if (request.url!.length > this.#limits.maxTargetBytes) return REFUSALS.target_too_long;
    if (request.method === "TRACE") return REFUSALS.method_not_allowed;
    return host === undefined || this.#isHost(host) ? undefined : REFUSALS.bad_host;
  }

  #check1(inbound: Inbound, target: string): Refusal | undefined {
    const { host } = inbound;
    if (host === undefined) {
      if (inbound.request.httpVersionMinor === 1) return REFUSALS.bad_host;
    } else if (!this.#isHost(host)) return REFUSALS.bad_host;
    if (target.charCodeAt(0) !== 47) return this.#otherForm(inbound, target);
    return isTarget(target) ? undefined : REFUSALS.bad_target;
  }

  #isHost(host: string): boolean {
    if (host === this.#host) return true;
    if (!isHost(host)) return false;
    this.#host = host;
    return true;
  }

  /** `*`, or the absolute form, whose authority wins over Host (RFC 9112 §3.2.2). */
  #otherForm(inbound: Inbound, target: string): Refusal | undefined {
    const { request } = inbound;
    if (target === "*") return request.method === "OPTIONS" ? undefined : REFUSALS.bad_target;
    const [, scheme = "", authority = "", rest = ""] = ABSOLUTE.exec(target) ?? [];
    if (scheme.toLowerCase() !== (this.#secure ? "https" : "http")) return REFUSALS.bad_target;
    const path = rest.startsWith("/") ? rest : `/${rest}`;
    if (!this.#isHost(authority) || !isTarget(path)) return REFUSALS.bad_target;
    request.url = path;
    rewriteHost(request, authority);
    return undefined;
  }

  #check2(inbound: Inbound, target: string): Refusal | undefined {
    const { headers, method } = inbound.request as unknown as {
      headers: Record<string, string | undefined>;
      method: string;
    };
    if (method === "CONNECT") return REFUSALS.method_not_allowed;
    const authority = headers[":authority"];
    if (authority !== undefined) {
      if (!this.#isHost(authority)) return REFUSALS.bad_host;
      if (inbound.host !== undefined && inbound.host !== authority) return REFUSALS.bad_host;
    } else if (inbound.host === undefined || !this.#isHost(inbound.host)) return REFUSALS.bad_host;
    if (headers[":scheme"] !== (this.#secure ? "https" : "http")) return REFUSALS.bad_target;
    if (target === "*" && method === "OPTIONS") return undefined;
    return isTarget(target) ? undefined : REFUSALS.bad_target;
  }
}

export function isHost(text: string): boolean {
  return text.length <= 300 && HOST.test(text);
}

/** Origin form: a path from `/` on, and a query behind the first `?`. */
export function isTarget(target: string): boolean {
  if (target.charCodeAt(0) !== 47) return false;
  let allowed = IN_PATH;
  for (let i = 1; i < target.length; i++) {
    const byte = target.charCodeAt(i);
    if (byte < 128 && (TARGET_BYTES[byte]! & allowed) !== 0) continue;
    if (byte !== 63 || allowed === IN_QUERY) return false;
    allowed = IN_QUERY;
  }
  return true;
}

function rewriteHost(request: IncomingMessage, authority: string): void {
  const raw = request.rawHeaders;
  for (let i = 0; i < raw.length; i += 2) {
    if (raw[i]!.toLowerCase() === "host") raw[i + 1] = authority;
  }
  request.headers.host = authority;
}
