/**
 * The identity sources of a mesh: those that are registered are followed from its start to its end, files
 * by each service and server that names some. A service or server asks for its own by what `tls` says.
 */
import { FILES, type TlsPem, type TlsTexts } from "./pem.ts";
import { makeMistake, type Mistake } from "../config/mistakes.ts";
import { isRaw } from "../config/plain.ts";
import { linesAbout } from "../limited-log.ts";
import type { Log } from "../log.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { IDENTITY_PROBLEM, IDENTITY_UPDATES } from "../telemetry/instruments.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import { CertificateSeries } from "./certificate-series.ts";
import { fileIdentity } from "./file-identity.ts";
import { IdentityFollower, type IdentityUser, type UpdateResult } from "./follow.ts";
import { nameRule, type IdentitySource } from "./identity.ts";

/** State of one registered source. */
export interface IdentitySnapshot {
  readonly name: string;
  /** `waiting`: nothing good has come yet; `refused`: what it said last is not used, because of `problem`. */
  readonly state: "waiting" | "current" | "refused";
  readonly problem: string | undefined;
  /** Wall-clock milliseconds at which what is in force ends; Infinity without a certificate, or while waiting. */
  readonly expiresAt: number;
}

/** Keeps a source followed that no service uses at the moment: its answer is there when one does. */
const KEEPER: IdentityUser = { drainGraceMs: 0, take() {}, renew() {} };

export class Identities {
  readonly #runtime: Runtime;
  readonly #telemetry: Telemetry | undefined;
  readonly #followers = new Map<string, IdentityFollower>();
  readonly #ends: (() => void)[] = [];

  /** Starts them. Without `telemetry` and `log` nothing is counted or said. */
  constructor(
    sources: readonly IdentitySource[],
    runtime: Runtime,
    telemetry?: Telemetry,
    log?: Log,
  ) {
    this.#runtime = runtime;
    this.#telemetry = telemetry;
    for (const source of sources) {
      const identity = source.name;
      const lines = log && linesAbout(identity, log, runtime);
      const follower: IdentityFollower = new IdentityFollower({
        source,
        runtime,
        shown: this.#seriesOf(identity, ""),
        updated: (result: UpdateResult, why: string | undefined) => {
          telemetry?.counter(IDENTITY_UPDATES, { identity, result }).add(1);
          if (why === undefined) return;
          const stays =
            follower.pem === undefined
              ? "there is none before it"
              : "the last good one stays in use";
          lines?.write("identity.refused", () => `the identity is not used: ${why}; ${stays}`);
        },
      });
      this.#followers.set(identity, follower);
      const isWrong = (): number => (follower.problem === undefined ? 0 : 1);
      if (telemetry) this.#ends.push(telemetry.gauge(IDENTITY_PROBLEM, { identity }, isWrong));
      this.#ends.push(follower.use(KEEPER), () => lines?.close());
    }
  }

  #seriesOf(identity: string, service: string): ((pem: TlsPem | undefined) => void) | undefined {
    if (this.#telemetry === undefined) return undefined;
    const series = new CertificateSeries(this.#telemetry, { identity, service });
    return (pem) => series.show(pem);
  }

  /**
   * Files are followed for each that asks, while it uses them; `user` is the name of the service or server. Throws
   * for a name that is not registered.
   */
  of(tls: TlsTexts & { readonly identity: string }, user: string): IdentityFollower {
    const { identity } = tls;
    const runtime = this.#runtime;
    if (identity === FILES) {
      const source = fileIdentity(tls, runtime);
      const shown = this.#seriesOf(identity, user);
      return new IdentityFollower({ source, runtime, prefix: "tls.", shown });
    }
    const follower = this.#followers.get(identity);
    if (follower !== undefined) return follower;
    const known = [FILES, ...this.#followers.keys()].join(", ");
    throw new TypeError(
      `tls.identity ${identity} is no source of this mesh (known: ${known}): createMesh({ identities: [ … ] })`,
    );
  }

  snapshot(): IdentitySnapshot[] {
    return [...this.#followers].map(([name, { pem, problem }]) => ({
      name,
      state: problem !== undefined ? "refused" : pem === undefined ? "waiting" : "current",
      problem,
      expiresAt: pem?.expiresAt ?? Infinity,
    }));
  }

  close(): void {
    for (const end of this.#ends.splice(0)) end();
  }
}

/** Of `createMesh({ identities })`, beside those of a list. */
export function identityMistakes(sources: readonly unknown[]): Mistake[] {
  const seen = new Set<unknown>();
  return sources.flatMap((one, i) => {
    const given: Record<string, unknown> = isRaw(one) ? one : (Object(one) as typeof given);
    const mistakes: Mistake[] = [];
    const report = (key: string, rule: string, value: unknown): void =>
      void mistakes.push(makeMistake(["identities", i, key], rule, value, "createMesh"));
    const { name, watch, verifyPeer } = given;
    const rule = nameRule(name) ?? (seen.has(name) ? "must be one that no other has" : undefined);
    if (rule !== undefined) report("name", rule, name);
    seen.add(name);
    if (typeof watch !== "function") report("watch", "must be a function", watch);
    if (verifyPeer !== undefined && typeof verifyPeer !== "function") {
      report("verifyPeer", "must be a function", verifyPeer);
    }
    return mistakes;
  });
}
