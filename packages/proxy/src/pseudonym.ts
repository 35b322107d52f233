/** The name by which a proxy is known in `via` (RFC 9110 §7.6.3), so that its address need not be. */

/** A token, which a host and a port are not. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/;

export const PSEUDONYM_RULE = "must be 1 to 64 letters, digits or other characters of a token";

export function isPseudonym(text: string): boolean {
  return TOKEN.test(text);
}
