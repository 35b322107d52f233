/**
 * What a server refuses only if its application chose so: which hosts it is, and whether names of
 * headers may have a `_`. Where nothing was chosen there is none of this.
 */
import type { IncomingMessage } from "node:http";
import type { Refusal } from "@inmesh/core/spi";
import { REFUSALS } from "./refusals.ts";
import { isHost } from "./validate.ts";

export interface ChosenOptions {
  readonly authorities?: readonly string[] | undefined;
  readonly refuseUnderscores?: boolean | undefined;
}

export class ChosenRules {
  readonly #authorities: ReadonlySet<string> | undefined;
  readonly refusesUnderscores: boolean;
  /** The last one found in the list: nearly every request has the same. */
  #last: string | undefined = undefined;

  /** Undefined: nothing was chosen. Throws a TypeError for a list that nothing can be in. */
  static of(options: ChosenOptions): ChosenRules | undefined {
    const { authorities, refuseUnderscores = false } = options;
    if (authorities === undefined && !refuseUnderscores) return undefined;
    return new ChosenRules(authorities, refuseUnderscores);
  }

  private constructor(authorities: readonly string[] | undefined, refusesUnderscores: boolean) {
    this.refusesUnderscores = refusesUnderscores;
    if (authorities?.length === 0) throw new TypeError("meshServer: authorities is empty");
    for (const one of authorities ?? []) {
      if (!isHost(one)) throw new TypeError(`meshServer: authorities: ${one} is no host[:port]`);
    }
    this.#authorities = authorities && new Set(authorities.map((one) => one.toLowerCase()));
  }

  /** Its head has been found good: there is one host, and it is one. */
  check(request: IncomingMessage): Refusal | undefined {
    if (this.refusesUnderscores && hasUnderscore(request.rawHeaders)) {
      return REFUSALS.bad_header_name;
    }
    if (this.#authorities === undefined) return undefined;
    // An absolute target has been written there as well.
    const { headers } = request;
    const authority = (headers[":authority"] as string | undefined) ?? headers.host;
    return this.#serves(authority, this.#authorities) ? undefined : REFUSALS.misdirected;
  }

  #serves(authority: string | undefined, list: ReadonlySet<string>): boolean {
    if (authority === undefined) return false; // HTTP/1.0
    if (authority === this.#last) return true;
    const lower = authority.toLowerCase();
    if (!list.has(lower) && !list.has(lower.replace(/:\d+$/, ""))) return false;
    this.#last = authority;
    return true;
  }
}

function hasUnderscore(raw: readonly string[]): boolean {
  for (let i = 0; i < raw.length; i += 2) if (raw[i]!.includes("_")) return true;
  return false;
}
