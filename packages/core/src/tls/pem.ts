/**
 * Reads certificates and keys, from files or from the configuration itself, and proves them before
 * they are used. Node accepts almost anything: an empty `ca` becomes the public roots, a broken
 * one trusts no peer and gives no error, an empty `cert` makes a context that cannot serve. So every text
 * is parsed to certificates first, and "nothing" is a mistake.
 */
import { codeOf } from "../errors.ts";
import { readFileSync, statSync } from "node:fs";
import type { X509Certificate } from "node:crypto";
import type { TlsConfig } from "./options.ts";

/** Certificates and keys as texts, whole and proven. */
export interface TlsPem {
  /** One PEM for each certificate of the bundle; undefined: the public roots. */
  readonly ca: readonly string[] | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  /** Wall-clock milliseconds at which the first certificate of `cert` ends, or must not be used any more; Infinity without one. */
  readonly expiresAt: number;
  /** The same of the next one in `cert`, which has issued it; Infinity without one. */
  readonly issuerExpiresAt?: number;
  /** Wall-clock milliseconds from which the first certificate of `cert` is valid; undefined without one. */
  readonly issuedAt?: number;
  /** When the first of the bundle ends; Infinity without a bundle. */
  readonly bundleExpiresAt?: number;
}

export interface TlsMistake {
  readonly field: "ca" | "cert" | "key";
  readonly rule: string;
}

/** The identity source that is built in, as `tls.identity` names it. */
export const FILES = "files";
export const MAX_PEM_BYTES = 1_048_576;
const MAX_BUNDLE = 100;
const MAX_CHAIN = 5;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;
const BEGIN_CERTIFICATE = /-----BEGIN CERTIFICATE-----/g;

/** The text is a PEM itself, not the path of one. */
export function isInlinePem(text: string): boolean {
  return text.includes("-----BEGIN ");
}

/** Paths among the three, for the watch over them. */
export function tlsFiles({ ca, cert, key }: TlsTexts): string[] {
  return [ca, cert, key].filter((one) => one !== undefined && !isInlinePem(one)) as string[];
}

/** The three as they are to be used: PEM texts. */
export type TlsTexts = Pick<TlsConfig, TlsMistake["field"]>;
export type Proven = { readonly pem: TlsPem } | { readonly mistakes: readonly TlsMistake[] };

/** Reads what is written as a path. Synchronous, at the start of a service and at a rotation. Never throws. */
export function readTexts(config: TlsTexts): {
  readonly texts: TlsTexts;
  readonly mistakes: TlsMistake[];
} {
  const mistakes: TlsMistake[] = [];
  const read = (field: TlsMistake["field"]): string | undefined => {
    const written = config[field];
    if (written === undefined) return undefined;
    const text = textOf(written);
    if (typeof text === "string") return text;
    mistakes.push({ field, rule: text.rule });
    return undefined;
  };
  return { texts: { ca: read("ca"), cert: read("cert"), key: read("key") }, mistakes };
}

/** Reads and proves. Never throws. */
export function readTls(config: TlsTexts): Proven {
  const { texts, mistakes } = readTexts(config);
  return proveTexts(texts, mistakes, config);
}

/** `mistakes` that are known already, and what was written where a text is missing for them. Never throws. */
export function proveTexts(
  { ca, cert, key }: TlsTexts,
  known: readonly TlsMistake[] = [],
  written: TlsTexts = { ca, cert, key },
): Proven {
  const mistakes = [...known];
  const bundle = ca === undefined ? undefined : certificates("ca", ca, MAX_BUNDLE, mistakes);
  const chain = cert === undefined ? undefined : certificates("cert", cert, MAX_CHAIN, mistakes);
  if (written.cert !== undefined && written.key === undefined) {
    mistakes.push({ field: "key", rule: "must be written too, where cert is" });
  }
  if (written.key !== undefined && written.cert === undefined) {
    mistakes.push({ field: "cert", rule: "must be written too, where key is" });
  }
  const leaf = chain?.[0];
  if (key !== undefined) checkKey(key, leaf, mistakes);
  if (mistakes.length > 0) return { mistakes };
  return {
    pem: {
      ca: bundle?.map(String),
      cert: chain?.map(String).join(""),
      key,
      expiresAt: endOf(leaf),
      issuerExpiresAt: endOf(chain?.[1]),
      ...(leaf !== undefined && { issuedAt: leaf.validFromDate.getTime() }),
      bundleExpiresAt: Math.min(Infinity, ...(bundle ?? []).map(endOf)),
    },
  };
}

function endOf(certificate: X509Certificate | undefined): number {
  return certificate === undefined ? Infinity : certificate.validToDate.getTime();
}

function textOf(written: string): string | { readonly rule: string } {
  if (written.length > MAX_PEM_BYTES) return { rule: "must have at most 1 MiB" };
  if (isInlinePem(written)) return written;
  try {
    const stats = statSync(written);
    if (!stats.isFile()) return { rule: "must be the path of a file, or a PEM text" };
    if (stats.size > MAX_PEM_BYTES) return { rule: "must have at most 1 MiB" };
    return readFileSync(written, "latin1");
  } catch (error) {
    const rule = `must be the path of a PEM file that can be read (${codeOf(error)}), or a PEM text`;
    return { rule };
  }
}

function certificates(
  field: "ca" | "cert",
  text: string,
  max: number,
  mistakes: TlsMistake[],
): readonly X509Certificate[] | undefined {
  const blocks = text.match(CERTIFICATE) ?? [];
  const wrong = (rule: string): undefined => void mistakes.push({ field, rule });
  if (blocks.length === 0) return wrong("must hold at least one certificate (PEM)");
  if (blocks.length !== (text.match(BEGIN_CERTIFICATE) ?? []).length) {
    return wrong("must hold whole certificates: one of them is cut");
  }
  if (blocks.length > max) return wrong(`must hold at most ${max} certificates`);
  const { X509Certificate: Certificate } = process.getBuiltinModule("node:crypto");
  try {
    return blocks.map((block) => new Certificate(block));
  } catch {
    return wrong("must hold certificates that can be parsed");
  }
}

function checkKey(key: string, leaf: X509Certificate | undefined, mistakes: TlsMistake[]): void {
  const { createPrivateKey } = process.getBuiltinModule("node:crypto");
  try {
    const parsed = createPrivateKey(key);
    if (leaf !== undefined && !leaf.checkPrivateKey(parsed)) {
      mistakes.push({ field: "key", rule: "must be the key of the first certificate of cert" });
    }
  } catch {
    mistakes.push({ field: "key", rule: "must be a private key (PEM) without a passphrase" });
  }
}
