/**
 * Certificates are a part of the configuration: files that cannot be read, or do not fit together,
 * are reported with all other mistakes. They are read again when a service opens, and when they change.
 */
import { unknownKeyRule } from "../config/did-you-mean.ts";
import { FILES, readTls } from "./pem.ts";
import type { PathPart } from "../config/mistakes.ts";
import { isRaw, type Raw, type Report } from "../config/plain.ts";
import { hostRule } from "../config/address.ts";
import type { TlsConfig } from "./options.ts";

/** Reports every mistake; reads no file where `raw` says nothing of TLS. `identities`: those there are, if that is known. */
export function checkTls(
  raw: Raw,
  tls: TlsConfig,
  path: readonly PathPart[],
  report: Report,
  identities: readonly string[] | undefined,
): void {
  if (!isRaw(raw["tls"])) return;
  const { serverName, identity } = tls;
  if (serverName !== undefined) {
    const rule = /^[0-9.]*$|:/.test(serverName) ? "must be a DNS name" : hostRule(serverName);
    if (rule !== undefined) report([...path, "tls", "serverName"], rule, serverName);
  }
  if (identity !== FILES) {
    if (identities?.includes(identity) === false) {
      const rule = unknownKeyRule(identity, [FILES, ...identities]);
      report([...path, "tls", "identity"], `${rule}; sources are given to createMesh`, identity);
    }
    for (const field of ["ca", "cert", "key"] as const) {
      if (tls[field] === undefined) continue;
      const rule = `must not be written where tls.identity is ${identity}, which brings it`;
      report([...path, "tls", field], rule, tls[field]);
    }
    return;
  }
  const read = readTls(tls);
  if ("pem" in read) return;
  for (const { field, rule } of read.mistakes) {
    report([...path, "tls", field], rule, tls[field]);
  }
}
