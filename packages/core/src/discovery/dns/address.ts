/** One text per IP address, so that a set can be deduplicated by comparing strings. */
import { isIP } from "node:net";

const MAPPED = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/;

/**
 * The canonical text of an IP literal (RFC 5952), an IPv4-mapped IPv6 address as IPv4;
 * `undefined` if `text` is no IP literal. A zone (`%eth0`) is kept.
 */
export function normalAddress(text: string): string | undefined {
  const family = isIP(text);
  if (family === 4) return text;
  if (family !== 6) return undefined;
  const percent = text.indexOf("%");
  const zone = percent < 0 ? "" : text.slice(percent);
  const bare = percent < 0 ? text : text.slice(0, percent);
  // The URL serialiser follows the same rules as RFC 5952: lower case, longest run of zeros.
  const short = new URL(`http://[${bare}]`).hostname.slice(1, -1);
  const mapped = MAPPED.exec(short);
  if (mapped === null) return short + zone;
  const high = Number.parseInt(mapped[1]!, 16);
  const low = Number.parseInt(mapped[2]!, 16);
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
}
