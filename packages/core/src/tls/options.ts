/** Options of TLS: how `https` services are reached. See option.ts. */
import type { ParsedOptions } from "../option.ts";

export const TLS = {
  /**
   * Where certificates, key and bundle come from: `files` are the three below; another source
   * stands in their place, and they must not be written beside it.
   * - Range: `files`, or the name of a source of `createMesh({ identities })`
   * - Reason: Files are what every platform can give.
   * - No effect when `scheme` is `http`
   * - Elsewhere: Envoy `tls_certificate_sds_secret_configs`
   */
  identity: { type: "text", default: "files" },
  /**
   * The certificates that peers are believed by. A file is watched, and a rotation drops no
   * call.
   * - Range: the path of a PEM file, or a PEM text with 1 to 100 certificates
   * - No effect when `scheme` is `http`
   * - Elsewhere: Envoy `validation_context.trusted_ca`
   */
  ca: { type: "pem", defaultText: "the public roots" },
  /**
   * Our own certificate, shown to peers that ask for one. A file is watched; a pair is proven
   * before it is used.
   * - Range: the path of a PEM file, or a PEM text with 1 to 5 certificates, ours first
   * - No effect when `scheme` is `http`
   * - Elsewhere: Envoy `tls_certificates.certificate_chain`
   */
  cert: { type: "pem", defaultText: "none" },
  /**
   * The private key of `tls.cert`.
   * - Range: the path of a PEM file, or a PEM text; no passphrase
   * - No effect when `scheme` is `http`
   * - Elsewhere: Envoy `tls_certificates.private_key`
   */
  key: { type: "pem", defaultText: "none" },
  /**
   * The name in SNI, which a peer's certificate must be for.
   * - Range: a DNS name
   * - No effect when `scheme` is `http`
   * - Elsewhere: Envoy `sni` and `match_typed_subject_alt_names`
   */
  serverName: { type: "text", defaultText: "the host of `authority`" },
  /**
   * The oldest version that is spoken.
   * - Reason: Public services may not have 1.3 yet.
   * - No effect when `scheme` is `http`
   * - Elsewhere: Envoy `tls_minimum_protocol_version`
   */
  minVersion: { type: "choice", choices: ["TLSv1.2", "TLSv1.3"], default: "TLSv1.2" },
} as const;

export type TlsConfig = ParsedOptions<typeof TLS>;
