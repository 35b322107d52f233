/** The certificates in force of one identity, as they are measured. */
import { BUNDLE_INFO, CERT_EXPIRY, CERT_ISSUED } from "../telemetry/process-instruments.ts";
import type { Labels, Telemetry } from "../telemetry/telemetry.ts";
import type { TlsPem } from "./pem.ts";

const HASH_LENGTH = 8;

export class CertificateSeries {
  readonly #telemetry: Telemetry;
  readonly #labels: Labels;
  readonly #gauges: (() => void)[] = [];

  /** `labels`: the identity, and the service or server that uses it, empty for all of a mesh. */
  constructor(telemetry: Telemetry, labels: { identity: string; service: string }) {
    this.#telemetry = telemetry;
    this.#labels = labels;
  }

  /** These are in force. Undefined: they are not used any more. */
  show(pem: TlsPem | undefined): void {
    for (const remove of this.#gauges.splice(0)) remove();
    if (pem === undefined) return;
    const { expiresAt, issuerExpiresAt, bundleExpiresAt, issuedAt, ca } = pem;
    this.#instant(CERT_EXPIRY, "leaf", expiresAt);
    this.#instant(CERT_EXPIRY, "issuer", issuerExpiresAt);
    this.#instant(CERT_EXPIRY, "bundle_min", bundleExpiresAt);
    this.#instant(CERT_ISSUED, "leaf", issuedAt);
    if (ca === undefined) return;
    const { createHash } = process.getBuiltinModule("node:crypto");
    const hash = createHash("sha256").update(ca.join("\n")).digest("hex").slice(0, HASH_LENGTH);
    this.#gauges.push(this.#telemetry.gauge(BUNDLE_INFO, { ...this.#labels, hash }, () => 1));
  }

  #instant(instrument: typeof CERT_EXPIRY, kind: string, wallMs: number | undefined): void {
    if (wallMs === undefined || !Number.isFinite(wallMs)) return;
    const labels = { ...this.#labels, kind };
    this.#gauges.push(this.#telemetry.gauge(instrument, labels, () => wallMs / 1_000));
  }
}
