/**
 * The code of a failed handshake, by its text. grpc-js's own credentials pass on the text of an error
 * and no more, and they are what there is without its private members (tls-credentials.ts).
 */
import { PeerRefused } from "@inmesh/core/spi";

/** What OpenSSL says about a chain (X509_verify_cert_error_string), and Node about a name. Longer ones first. */
const TEXTS: readonly (readonly [text: string, code: string])[] = [
  [PeerRefused.TEXT, PeerRefused.CODE],
  ["certificate has expired", "CERT_HAS_EXPIRED"],
  ["certificate is not yet valid", "CERT_NOT_YET_VALID"],
  ["does not match certificate's altnames", "ERR_TLS_CERT_ALTNAME_INVALID"],
  ["unable to verify the first certificate", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"],
  ["unable to get local issuer certificate", "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"],
  ["unable to get issuer certificate", "UNABLE_TO_GET_ISSUER_CERT"],
  ["self-signed certificate in certificate chain", "SELF_SIGNED_CERT_IN_CHAIN"],
  ["self-signed certificate", "DEPTH_ZERO_SELF_SIGNED_CERT"],
  ["certificate signature failure", "CERT_SIGNATURE_FAILURE"],
  ["certificate not trusted", "CERT_UNTRUSTED"],
  ["invalid CA certificate", "INVALID_CA"],
  ["unsuitable certificate purpose", "INVALID_PURPOSE"],
];

/** As in `0A00010B:SSL routines:tls_validate_record_header:wrong version number`. */
const REASON = /:SSL routines:[^:]*:([^:]+)/;

/** What Node writes into `code` of such an error. Undefined: it is not known by its text. */
export function tlsCodeOf(text: string): string | undefined {
  const reason = REASON.exec(text)?.[1]?.trim();
  if (reason !== undefined) return `ERR_SSL_${reason.toUpperCase().replaceAll(" ", "_")}`;
  return TEXTS.find(([known]) => text.includes(known))?.[1];
}
