/**
 * What a server refuses only if its application chose so: which hosts it is, and whether names of
 * headers may have a `_`. Where nothing was chosen there is none of this.
 */
import type { IncomingMessage } from "node:http";
import type { Refusal } from "@inmesh/core/spi";
import { Authorities } from "./authorities.ts";
import { REFUSALS } from "./refusals.ts";

export interface ChosenOptions {
  readonly authorities?: readonly string[] | undefined;
  readonly refuseUnderscores?: boolean | undefined;
}

export class ChosenRules {
  readonly #authorities: Authorities | undefined;
  readonly refusesUnderscores: boolean;

  /** Undefined: nothing was chosen. Throws a TypeError for a list that nothing can be in. */
  static of(options: ChosenOptions): ChosenRules | undefined {
    const { authorities, refuseUnderscores = false } = options;
    if (authorities === undefined && !refuseUnderscores) return undefined;
    return new ChosenRules(Authorities.of("meshServer", authorities), refuseUnderscores);
  }

  private constructor(authorities: Authorities | undefined, refusesUnderscores: boolean) {
    this.refusesUnderscores = refusesUnderscores;
    this.#authorities = authorities;
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
    return this.#authorities.has(authority) ? undefined : REFUSALS.misdirected;
  }
}

function hasUnderscore(raw: readonly string[]): boolean {
  for (let i = 0; i < raw.length; i += 2) if (raw[i]!.includes("_")) return true;
  return false;
}
