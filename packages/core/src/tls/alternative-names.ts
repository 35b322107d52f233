/**
 * The subject alternative names of a certificate, read from its DER. Node gives them as one text, in which
 * a name with a comma looks like two (CVE-2021-44532), so that text is never split.
 */

/** RFC 5280 §4.2.1.6: subjectAltName, 2.5.29.17. */
const SAN_OID = "551d11";
const SEQUENCE = 0x30;
const BOOLEAN = 0x01;
const OID = 0x06;
const OCTETS = 0x04;
const EXTENSIONS = 0xa3;
const DNS_NAME = 0x82;
const URI = 0x86;
/** What a name or URI may consist of: visible ASCII. */
const VISIBLE = /^[\x21-\x7e]+$/;
const MAX_NAMES = 1_000;

export interface AlternativeNames {
  /** DNS names in lower case. */
  readonly names: readonly string[];
  readonly uris: readonly string[];
}

interface Item {
  readonly tag: number;
  readonly from: number;
  readonly to: number;
}

/** Throws an Error for what is no certificate, or has names that are no visible ASCII. */
export function alternativeNames(der: Uint8Array): AlternativeNames {
  const names: string[] = [];
  const uris: string[] = [];
  const certificate = itemAt(der, 0, der.length, SEQUENCE);
  const body = itemAt(der, certificate.from, certificate.to, SEQUENCE);
  const field = children(der, body).find(({ tag }) => tag === EXTENSIONS);
  if (field === undefined) return { names, uris };
  for (const extension of children(der, itemAt(der, field.from, field.to, SEQUENCE))) {
    const [id, ...rest] = children(der, extension);
    const value = rest.find(({ tag }) => tag !== BOOLEAN); // `critical` may stand between
    if (id?.tag !== OID || value?.tag !== OCTETS) throw malformed();
    if (Buffer.from(der.subarray(id.from, id.to)).toString("hex") !== SAN_OID) continue;
    const list = children(der, itemAt(der, value.from, value.to, SEQUENCE));
    if (list.length > MAX_NAMES) throw malformed();
    for (const { tag, from, to } of list) {
      if (tag !== DNS_NAME && tag !== URI) continue;
      const text = Buffer.from(der.subarray(from, to)).toString("latin1");
      if (!VISIBLE.test(text)) throw new Error("a name in the certificate is no visible ASCII");
      if (tag === URI) uris.push(text);
      else names.push(text.toLowerCase());
    }
  }
  return { names, uris };
}

function children(der: Uint8Array, { from, to }: Item): Item[] {
  const items: Item[] = [];
  for (let at = from; at < to;) {
    const item = itemAt(der, at, to);
    items.push(item);
    at = item.to;
  }
  return items;
}

/** The item of DER that begins at `at`. Throws where it does not end before `end`, or has another tag than `wanted`. */
function itemAt(der: Uint8Array, at: number, end: number, wanted?: number): Item {
  const tag = der[at];
  let length = der[at + 1];
  let from = at + 2;
  if (tag === undefined || length === undefined || from > end) throw malformed();
  if (length >= 0x80) {
    const size = length & 0x7f;
    if (size === 0 || size > 3 || from + size > end) throw malformed();
    length = 0;
    for (let i = 0; i < size; i++) length = length * 256 + der[from + i]!;
    from += size;
  }
  const to = from + length;
  if (to > end || (wanted !== undefined && tag !== wanted)) throw malformed();
  return { tag, from, to };
}

function malformed(): Error {
  return new Error("the certificate cannot be read");
}
