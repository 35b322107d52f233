/**
 * What one identity source says, followed while it is used. New material is proven to fit together,
 * and only then given out; until then the last good one stays, and `problem` says why. Whatever a source
 * does, it throws nothing here: it may be the application's own.
 */
import { MAX_PEM_BYTES, proveTexts, type TlsPem } from "./pem.ts";
import { isRaw } from "../config/plain.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";
import type { IdentityMaterial, IdentitySink, IdentitySource, IdentityWatch } from "./identity.ts";
import { messageOf } from "../errors.ts";

/** The wall clock may jump, so the end of a certificate is compared with it ever again (T7). */
const CHECK_MS = 60_000;
/** The first answer counts at once; what follows it within this time is taken as one. */
const GAP_MS = 100;
/** A source that has not answered for so long has a problem; it may still answer. */
const ANSWER_MS = 10_000;
/** A source whose `watch` threw is asked again, after this time and then after twice as long each. */
const RETRY_MS = 1_000;
const EXPIRED = "its certificate has expired";

/** Makes connections with it. */
export interface IdentityUser {
  /** Connections need as long to end: `renew` comes so much before the end of the certificate. */
  readonly drainGraceMs: number;
  /** Takes what is in force from now on, and at once what is in force already. What it throws is a problem. */
  take(pem: TlsPem): void;
  /** New connections are to be made, because of what was taken or because the certificate ends soon. */
  renew(): void;
}

export interface FollowerParts {
  readonly source: IdentitySource;
  readonly runtime: Runtime;
  /** Counts what became of an answer, and logs what was refused. */
  readonly updated?: ((result: UpdateResult, why: string | undefined) => void) | undefined;
  /** Stands before the field that something is wrong with. Default: nothing. */
  readonly prefix?: string;
}

/** `failed`: the source reported a failure. */
export type UpdateResult = "applied" | "unchanged" | "refused" | "failed";

export class IdentityFollower {
  /** In force; undefined: nothing has been good yet. */
  pem: TlsPem | undefined = undefined;
  /** Why what the source says is not used; undefined: it is. */
  problem: string | undefined = undefined;
  readonly source: IdentitySource;
  readonly #parts: FollowerParts;
  readonly #users = new Set<IdentityUser>();
  #watch: IdentityWatch | undefined = undefined;
  /** Sinks of earlier watches are of an earlier one: what comes by them has no effect. */
  #generation = 0;
  #check: Timer | undefined = undefined;
  #answerTimer: Timer | undefined = undefined;
  #retryTimer: Timer | undefined = undefined;
  #retryMs = RETRY_MS;
  #gapTimer: Timer | undefined = undefined;
  #held: IdentityMaterial | undefined = undefined;
  #ready: Promise<void> | undefined = undefined;
  #isReady: (() => void) | undefined = undefined;

  constructor(parts: FollowerParts) {
    this.source = parts.source;
    this.#parts = parts;
  }

  /** Resolves with the first good answer; undefined: it is here. */
  get ready(): Promise<void> | undefined {
    if (this.pem !== undefined) return undefined;
    return (this.#ready ??= new Promise((resolve) => (this.#isReady = resolve)));
  }

  /** Starts watching with the first user. Call what it returns once. */
  use(user: IdentityUser): () => void {
    if (this.#users.size === 0) this.#start();
    this.#users.add(user);
    if (this.pem !== undefined) this.#give(user, this.pem);
    return () => {
      if (this.#users.delete(user) && this.#users.size === 0) this.#stop();
    };
  }

  #start(): void {
    this.#retryMs = RETRY_MS;
    this.#open();
    // Texts that do not end are not looked at again, and need no timer.
    if (this.#watch?.refresh === undefined && !this.#canChange) return;
    this.#recheck();
  }

  get #canChange(): boolean {
    return this.pem === undefined || Number.isFinite(this.pem.expiresAt);
  }

  #open(): void {
    const generation = ++this.#generation;
    const { runtime, source } = this.#parts;
    const mine = (): boolean => generation === this.#generation;
    const sink: IdentitySink = {
      replace: (material) => {
        if (mine()) this.#came(material);
      },
      failed: (error) => {
        if (mine()) this.#refuse("failed", messageOf(error));
      },
    };
    try {
      this.#watch = source.watch(sink);
    } catch (error) {
      this.#refuse("failed", messageOf(error));
      this.#retryTimer = runtime.after(this.#retryMs, () => this.#open(), undefined);
      this.#retryMs = Math.min(CHECK_MS, this.#retryMs * 2);
      return;
    }
    if (this.pem !== undefined || this.problem !== undefined) return;
    this.#answerTimer = runtime.after(
      ANSWER_MS,
      () => this.#refuse("failed", `it has not answered within ${ANSWER_MS / 1_000} s`),
      undefined,
    );
  }

  #stop(): void {
    this.#generation++;
    for (const timer of [this.#check, this.#answerTimer, this.#retryTimer, this.#gapTimer]) {
      timer?.cancel();
    }
    this.#gapTimer = this.#held = undefined;
    const watch = this.#watch;
    this.#watch = undefined;
    safely(() => watch?.stop());
  }

  #came(material: IdentityMaterial): void {
    this.#answerTimer?.cancel();
    if (this.#gapTimer !== undefined) {
      this.#held = material;
      return;
    }
    this.#gapTimer = this.#parts.runtime.after(GAP_MS, () => this.#gapOver(), undefined);
    this.#judge(material);
  }

  #gapOver(): void {
    const held = this.#held;
    this.#gapTimer = this.#held = undefined;
    if (held !== undefined) this.#came(held);
  }

  #judge(material: IdentityMaterial): void {
    const { runtime, prefix = "" } = this.#parts;
    const proven = prove(material);
    if ("mistakes" in proven) {
      const rules = proven.mistakes.map(({ field, rule }) => `${prefix}${field} ${rule}`);
      return this.#refuse("refused", rules.join("; "));
    }
    const { pem } = proven;
    if (this.pem !== undefined && equal(pem, this.pem)) {
      this.problem = undefined;
      return this.#parts.updated?.("unchanged", undefined);
    }
    const isOver = pem.expiresAt <= runtime.wallNow();
    // Without a better one it is in force all the same: what is dialled then says that it has expired.
    if (isOver && this.pem !== undefined) return this.#refuse("refused", EXPIRED);
    try {
      process.getBuiltinModule("node:tls").createSecureContext(contextOf(pem));
    } catch (error) {
      return this.#refuse("refused", messageOf(error));
    }
    this.pem = pem;
    this.problem = undefined;
    if (isOver) this.#refuse("refused", EXPIRED);
    else this.#parts.updated?.("applied", undefined);
    for (const user of this.#users) this.#give(user, pem);
    this.#isReady?.();
    this.#renew();
  }

  #give(user: IdentityUser, pem: TlsPem): void {
    try {
      user.take(pem);
    } catch (error) {
      this.#refuse("refused", messageOf(error));
    }
  }

  #refuse(result: "refused" | "failed", why: string): void {
    this.problem = why;
    this.#parts.updated?.(result, why);
  }

  #recheck(): void {
    this.#check = this.#parts.runtime.after(
      CHECK_MS,
      () => {
        if (this.problem !== undefined) safely(() => this.#watch?.refresh?.());
        this.#endInTime();
        this.#recheck();
      },
      undefined,
    );
  }

  /** Connections made with a certificate do not outlive it: from shortly before its end they are replaced at every look. */
  #endInTime(): void {
    const expiresAt = this.pem?.expiresAt ?? Infinity;
    if (!Number.isFinite(expiresAt)) return;
    const leftMs = expiresAt - this.#parts.runtime.wallNow();
    for (const user of this.#users) if (leftMs <= user.drainGraceMs + CHECK_MS) user.renew();
  }

  #renew(): void {
    for (const user of this.#users) user.renew();
  }
}

/** What a source has given, which may be anything. */
function prove(material: IdentityMaterial): ReturnType<typeof proveTexts> {
  const given: unknown = material;
  const wrong = (field: string, rule: string): ReturnType<typeof proveTexts> => ({
    mistakes: [{ field: field as "cert", rule }],
  });
  if (!isRaw(given)) return wrong("what it gave", "must be an object with cert, key and ca");
  for (const field of ["cert", "key", "ca"]) {
    const text = given[field];
    if (text === undefined) continue;
    // Nothing is read here: a path is no PEM text, and is refused as such.
    if (typeof text !== "string") return wrong(field, "must be a PEM text");
    if (text.length > MAX_PEM_BYTES) return wrong(field, "must have at most 1 MiB");
  }
  const { cert, key, ca, expiresAt = Infinity } = material;
  if (typeof expiresAt !== "number" || Number.isNaN(expiresAt)) {
    return wrong("expiresAt", "must be an instant in milliseconds");
  }
  const proven = proveTexts({ cert, key, ca });
  if ("mistakes" in proven) return proven;
  return { pem: { ...proven.pem, expiresAt: Math.min(expiresAt, proven.pem.expiresAt) } };
}

/** For `createSecureContext`. An empty `ca` would be the public roots, so a bundle is never empty (proveTexts). */
export function contextOf({ ca, cert, key }: TlsPem): {
  ca?: string[];
  cert?: string;
  key?: string | undefined;
} {
  return {
    ...(ca === undefined ? undefined : { ca: [...ca] }),
    ...(cert === undefined ? undefined : { cert, key }),
  };
}

function equal(a: TlsPem, b: TlsPem): boolean {
  const same = a.cert === b.cert && a.key === b.key && a.expiresAt === b.expiresAt;
  return same && a.ca?.join() === b.ca?.join();
}

function safely(act: () => void): void {
  try {
    act();
  } catch {
    // It is being stopped, or asked to look again: the last good one stays.
  }
}
