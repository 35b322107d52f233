/**
 * The first certificate of a server as grpc-js's credentials. Later ones are put in force on the HTTP/2
 * servers themselves (core's server-identity.ts), because grpc-js's own way sets neither the version of TLS
 * nor that sessions are not resumed.
 */
import { experimental, type ServerCredentials } from "@grpc/grpc-js";
import type { TlsPem } from "@inmesh/core/spi";

/** `asks`: clients are asked for a certificate; `requires`: those without a good one are refused. */
export function serverCredentials(
  { cert = "", key = "", ca = [] }: TlsPem,
  asks: boolean,
  requires: boolean,
): ServerCredentials {
  const identity = { certificate: Buffer.from(cert), privateKey: Buffer.from(key) };
  const bundle = { caCertificate: Buffer.from(ca.join("")) };
  const provider: experimental.CertificateProvider = {
    // Its listener drops what it gets before it has been added.
    addIdentityCertificateListener: (listener) => queueMicrotask(() => listener(identity)),
    removeIdentityCertificateListener() {},
    addCaCertificateListener: (listener) => queueMicrotask(() => listener(bundle)),
    removeCaCertificateListener() {},
  };
  // One for both: which of the two is the first argument differs between its types and what it does.
  const { createCertificateProviderServerCredentials: create } = experimental;
  return create(provider, asks ? provider : null, requires);
}
