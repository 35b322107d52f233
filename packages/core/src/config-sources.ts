/**
 * The configuration sources of one mesh: environment, file and those of the application, followed from its
 * start to its close, and code, which speaks by `mesh.update`. What one of them says is taken into force
 * here, counted and logged; the store has the layers.
 */
import { linesAbout, type LimitedLog } from "./limited-log.ts";
import type { Log } from "./log.ts";
import type { Runtime, Timer } from "./runtime/runtime.ts";
import { CONFIG_REFUSED, CONFIG_UPDATES } from "./telemetry/instruments.ts";
import { CONFIG_LAST_APPLIED } from "./telemetry/process-instruments.ts";
import type { Telemetry } from "./telemetry/telemetry.ts";
import { SourceFollower, type SourceResult } from "./config/follow.ts";
import type { MeshInput } from "./config/input.ts";
import type { WrittenKind } from "./config/kind.ts";
import { ConfigError, describeMistakes, type Mistake } from "./config/mistakes.ts";
import type { SourceRank } from "./config/ranks.ts";
import type { ConfigSection } from "./config/section.ts";
import { type ConfigSource, sourceMistakes } from "./config/source.ts";
import { fileSource } from "./config/sources/config-file.ts";
import { environmentSource, readEnvConfig } from "./config/sources/env.ts";
import { ConfigStore, type Layers, type Proposal } from "./config/store.ts";
import type { FindUnconfigured } from "./config/target.ts";

export interface SourceOptions {
  readonly config?: MeshInput | undefined;
  readonly configFile?: string | undefined;
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  readonly snapshotFile?: string | undefined;
  readonly sources?: readonly ConfigSource[] | undefined;
  /** Sources of identity, by whose names configuration refers to them. Default: none. */
  readonly identities?: readonly { readonly name: string }[] | undefined;
}

export interface SourcesParts {
  /** Beside the built-in ones. */
  readonly sections: readonly ConfigSection[] | undefined;
  readonly kinds: readonly WrittenKind[];
  readonly runtime: Runtime;
  readonly telemetry: Telemetry;
  readonly log: Log;
  /** Where services are that nothing configures. */
  readonly findUnconfigured: FindUnconfigured;
  /** Takes a proposal into force: all of it, or it throws and nothing has happened. */
  apply(proposal: Proposal): void;
  /** For those who observe. */
  changed(source: string, result: SourceResult, mistakes: readonly Mistake[]): void;
}

/** State of one source; code is none, because `mesh.update` throws its mistakes. */
export interface ConfigSourceSnapshot {
  readonly name: string;
  readonly rank: SourceRank;
  /**
   * `waiting`: it has said nothing yet; `refused`: what it says now is not in force, because of `mistakes`;
   * `failed`: it does not know its layer. In both its last good layer stays.
   */
  readonly state: "waiting" | "current" | "refused" | "failed";
  /** What the source calls its layer in force. */
  readonly version: string | undefined;
  readonly mistakes: readonly Mistake[];
}

export class ConfigSources {
  readonly store: ConfigStore;
  /** Path of the configuration file; undefined without one. */
  readonly file: string | undefined;
  readonly #parts: SourcesParts;
  readonly #followers: readonly SourceFollower[];
  readonly #lines = new Map<string, LimitedLog>();
  readonly #ends: (() => void)[] = [];
  /** By source; in milliseconds since 1970. */
  readonly #appliedAtWallMs = new Map<string, number>();
  #closed = false;
  /** Those who wait for the first answers: called for each of them, and for the end. */
  readonly #waiters = new Set<(isEnd: boolean) => void>();

  /** Reads those that are required. Throws ConfigError with the mistakes of all of them. */
  constructor(options: SourceOptions, parts: SourcesParts) {
    this.#parts = parts;
    const env = readEnvConfig(options.env);
    this.file = options.configFile ?? env.file;
    const outside = options.sources ?? [];
    // The environment may have named the file.
    const wrong = sourceMistakes(outside, this.file);
    if (wrong.length > 0) throw new ConfigError(wrong);
    const environment = environmentSource(env);
    const file = this.file === undefined ? undefined : fileSource(this.file, options.snapshotFile);
    const sources = [environment, file, ...outside].filter((source) => source !== undefined);
    this.#followers = sources.map((source) => this.#follow(source));
    const { config, identities = [] } = options;
    const code: Layers = config === undefined ? {} : { code: { origin: "code", input: config } };
    const names = identities.map(({ name }) => name);
    try {
      const { kinds, sections, findUnconfigured } = parts;
      const known = { kinds, sections, identities: names };
      this.store = this.#start(code, (layers) => new ConfigStore(layers, known, findUnconfigured));
    } catch (error) {
      void this.close();
      throw error;
    }
    if (config !== undefined) this.#applied("code");
  }

  /** With what the required sources say, or else what stands in for it. */
  #start(code: Layers, storeOf: (layers: Layers) => ConfigStore): ConfigStore {
    const required = this.#followers.filter(({ source }) => source.required === true);
    const layers = { ...code };
    const mistakes: Mistake[] = [];
    const failed: SourceFollower[] = [];
    // Without a layer, what others refer to may be missing: say only what is certain.
    let incomplete = false;
    for (const follower of required) {
      const { layer, mistakes: its } = follower.first();
      if (layer === undefined) incomplete = true;
      else {
        Object.assign(layers, { [follower.source.rank]: layer });
        this.#applied(follower.source.name);
      }
      if (its.length > 0) failed.push(follower);
      mistakes.push(...its);
    }
    try {
      const store = storeOf(layers);
      if (mistakes.length === 0) return store;
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      if (!incomplete) mistakes.push(...error.mistakes);
    }
    const refused = new ConfigError(Object.freeze(mistakes));
    const instead = (failed.length > 0 ? failed : required).flatMap((follower) => {
      const layer = follower.standIn(refused);
      return layer === undefined ? [] : [[follower, layer] as const];
    });
    if (instead.length === 0 || instead.length < failed.length) throw refused;
    for (const [{ source }, layer] of instead) Object.assign(layers, { [source.rank]: layer });
    const store = storeOf(layers);
    for (const [follower, layer] of instead) {
      const message = `started from ${layer.origin}; ${describeMistakes(follower.mistakes)}`;
      this.#parts.log({ level: "warn", event: "config.restored", message });
    }
    return store;
  }

  #follow(source: ConfigSource): SourceFollower {
    const { runtime, telemetry, log } = this.#parts;
    const { name, rank } = source;
    this.#lines.set(name, linesAbout(name, log, runtime));
    const follower = new SourceFollower({
      source,
      runtime,
      log,
      take: (layer) => this.#take({ [rank]: layer }),
      happened: (result, mistakes) => this.#happened(name, result, mistakes),
      generation: () => this.store.version,
    });
    const isWrong = (): number => (follower.mistakes.length > 0 ? 1 : 0);
    this.#ends.push(telemetry.gauge(CONFIG_REFUSED, { source: name }, isWrong));
    return follower;
  }

  /** Starts the sources; called when changes can be applied. */
  begin(): void {
    // What was required is in force already, and has to be known as such when others bring changes.
    for (const isFirst of [true, false]) {
      for (const follower of this.#followers) {
        if ((follower.source.required === true) === isFirst) follower.begin();
      }
    }
  }

  /** Replaces what code says. Throws ConfigError with every mistake. Gives the version in force. */
  update(input: MeshInput): number {
    let changes: boolean;
    try {
      changes = this.#take({ code: { origin: "code", input } });
    } catch (error) {
      this.#happened("code", "refused", error instanceof ConfigError ? error.mistakes : []);
      throw error;
    }
    this.#happened("code", changes ? "applied" : "unchanged", []);
    return this.store.version;
  }

  #take(layers: Layers): boolean {
    const proposal = this.store.propose(layers);
    this.#parts.apply(proposal);
    return proposal.changes;
  }

  #happened(source: string, result: SourceResult, mistakes: readonly Mistake[]): void {
    this.#parts.telemetry.counter(CONFIG_UPDATES, { source, result }).add(1);
    if (result === "applied") this.#applied(source);
    this.#say(source, result, mistakes);
    this.#parts.changed(source, result, mistakes);
    for (const wake of this.#waiters) wake(false);
    if (result !== "applied" && result !== "unchanged") return;
    // What this one said before may have stood against another.
    for (const follower of this.#followers) if (follower.source.name !== source) follower.retry();
  }

  /** What it says is in force from now on. */
  #applied(source: string): void {
    const { runtime, telemetry } = this.#parts;
    const isFirst = !this.#appliedAtWallMs.has(source);
    this.#appliedAtWallMs.set(source, runtime.wallNow());
    if (!isFirst) return;
    const read = (): number => this.#appliedAtWallMs.get(source)! / 1_000;
    this.#ends.push(telemetry.gauge(CONFIG_LAST_APPLIED, { source }, read));
  }

  #say(source: string, result: SourceResult, mistakes: readonly Mistake[]): void {
    const lines = this.#lines.get(source);
    if (result === "applied") {
      if (lines !== undefined)
        lines.write("config.applied", () => `configuration ${this.store.version} in force`);
      else {
        const message = `${source}: configuration ${this.store.version} in force`;
        this.#parts.log({ level: "info", event: "config.applied", message });
      }
    }
    const stays = (): string =>
      `${describeMistakes(mistakes)}\nconfiguration ${this.store.version} stays in force`;
    // Code learns it from what `mesh.update` throws.
    if (result === "refused") lines?.write("config.refused", stays);
    if (result === "failed") lines?.write("config.failed", stays);
    if (result === "late")
      lines?.write("config.late", () => "said something after its end, which is ignored");
  }

  /** False: there is one that has said nothing within that time, or the mesh was closed meanwhile. */
  async answered(timeoutMs: number): Promise<boolean> {
    const isWaiting = (): boolean => this.#followers.some(({ state }) => state === "waiting");
    if (!isWaiting() || this.#closed) return !isWaiting();
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const wake = (isEnd: boolean): void => {
      if (isEnd || !isWaiting()) resolve(!isEnd);
    };
    this.#waiters.add(wake);
    const timer: Timer = this.#parts.runtime.after(timeoutMs, wake, true, true);
    try {
      return await promise;
    } finally {
      timer.cancel();
      this.#waiters.delete(wake);
    }
  }

  snapshot(): ConfigSourceSnapshot[] {
    return this.#followers.map(({ source: { name, rank }, state, version, mistakes }) => ({
      name,
      rank,
      state,
      version,
      mistakes,
    }));
  }

  /** Resolves when all have ended, each within a second; nothing is applied from now on. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const wake of this.#waiters) wake(true);
    await Promise.all(this.#followers.map((follower) => follower.stop()));
    for (const lines of this.#lines.values()) lines.close();
    for (const end of this.#ends.splice(0)) end();
  }
}
