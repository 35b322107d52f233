/**
 * Certificates are a part of the configuration: files that cannot be read, or do not fit together,
 * are told with all other mistakes. They are read again when a service opens, and when they change.
 */
import { readTls } from "./pem.ts";
import type { PathPart } from "./mistakes.ts";
import { isRaw, type Raw, type Report } from "./plain.ts";
import { hostRule } from "./target.ts";
import type { TlsConfig } from "./types.ts";

/** Reports every mistake; reads no file where `raw` says nothing of TLS. */
export function checkTls(
  raw: Raw,
  tls: TlsConfig,
  path: readonly PathPart[],
  report: Report,
): void {
  if (!isRaw(raw["tls"])) return;
  const { serverName } = tls;
  if (serverName !== undefined) {
    const rule = /^[0-9.]*$|:/.test(serverName) ? "must be a DNS name" : hostRule(serverName);
    if (rule !== undefined) report([...path, "tls", "serverName"], rule, serverName);
  }
  const read = readTls(tls);
  if ("pem" in read) return;
  for (const { field, rule } of read.mistakes) {
    report([...path, "tls", field], rule, tls[field]);
  }
}
