/**
 * One configuration source, followed from the start of the mesh to its close. What it says is taken into
 * force or refused as a whole; its last good layer stays. Whatever a source does, it throws nothing here: it
 * may be the application's own, and may be wrong.
 */
import { isDeepStrictEqual } from "node:util";
import { errorOf, messageOf } from "../errors.ts";
import type { Log } from "../log.ts";
import { promised } from "../promised.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";
import type { LocatedLayer } from "./merge.ts";
import { ConfigError, makeMistake, type Mistake, type PathPart } from "./mistakes.ts";
import { isRaw } from "./plain.ts";
import type { ConfigLayer, ConfigSink, ConfigSource, ConfigWatch } from "./source.ts";

/** The first layer counts at once; what follows one within this time is taken as one. */
const GAP_MS = 100;
/** A source that has not answered for so long has failed; what it says later still counts. */
export const ANSWER_MS = 10_000;
/** A source whose `watch` threw is asked again, after this time and then after twice as long each. */
export const RESTART_MS = 1_000;
const MAX_RESTART_MS = 60_000;
/** A source that hangs must not keep a mesh from closing. */
const MAX_STOP_MS = 1_000;
const MAX_TEXT = 256;

/** What became of what a source said. `late`: it came after its watch was stopped. */
export type SourceResult = "applied" | "unchanged" | "refused" | "failed" | "late";

export interface FollowerParts {
  readonly source: ConfigSource;
  readonly runtime: Runtime;
  readonly log: Log;
  /** Puts it in force, and says whether anything has changed. Throws ConfigError. */
  take(layer: LocatedLayer): boolean;
  /** Counts and logs what became of a layer. */
  happened(result: SourceResult, mistakes: readonly Mistake[]): void;
  /** Version of the configuration in force. */
  generation(): number;
}

/** What a source said last; both if it knows a part and what is wrong with the rest. */
interface News {
  layer?: { readonly given: ConfigLayer } | undefined;
  error?: Error | undefined;
}

export class SourceFollower {
  readonly source: ConfigSource;
  /** `waiting`: it has said nothing yet. */
  state: "waiting" | "current" | "refused" | "failed" = "waiting";
  /** Why what it says now is not in force; empty while it is. */
  mistakes: readonly Mistake[] = [];
  /** Version of its layer in force, as the source calls it. */
  version: string | undefined = undefined;
  readonly #parts: FollowerParts;
  #watch: Partial<ConfigWatch> | undefined = undefined;
  #endOfSink: () => void = () => {};
  /** What the source has said and what has not been considered yet. */
  #news: News = {};
  /** Until the start of the mesh has gone through: what is said is only kept. */
  #starting = true;
  #stopped = false;
  /** Refused, and tried again when something else changes. */
  #refused: LocatedLayer | undefined = undefined;
  #gap: Timer | undefined = undefined;
  #silence: Timer | undefined = undefined;
  #restart: Timer | undefined = undefined;
  #restartMs = RESTART_MS;

  /** Calls `watch`. */
  constructor(parts: FollowerParts) {
    this.source = parts.source;
    this.#parts = parts;
    this.#open();
  }

  // ── the start ────────────────────────────────────────────────────────────────────────────────

  /**
   * Of a source that is required: what it said before `watch` returned. Its mistakes are those of what it
   * could not say; without a layer the rest of the configuration cannot be judged.
   */
  first(): { readonly layer: LocatedLayer | undefined; readonly mistakes: readonly Mistake[] } {
    const { layer, error } = this.#news;
    this.#news = {};
    if (layer === undefined && error === undefined) {
      const rule = "must say something before watch returns, because it is required";
      return { layer: undefined, mistakes: [makeMistake([], rule, undefined, this.source.name)] };
    }
    const mistakes = error === undefined ? [] : this.#mistakesOf(error);
    if (layer === undefined) return { layer: undefined, mistakes };
    const located = this.#locate(layer.given);
    if ("mistakes" in located) return { layer: undefined, mistakes: located.mistakes };
    this.#refused = located;
    return { layer: located, mistakes };
  }

  /**
   * What the source gives in the place of what was refused; undefined: nothing. Throws ConfigError, with both,
   * if what it has is wrong too.
   */
  standIn(refused: ConfigError): LocatedLayer | undefined {
    let given: ConfigLayer | undefined;
    try {
      given = this.#watch?.standIn?.(refused);
    } catch (error) {
      if (error instanceof ConfigError) throw error;
      throw new ConfigError([...refused.mistakes, ...this.#mistakesOf(error)]);
    }
    if (given === undefined) return undefined;
    const located = this.#locate(given);
    if ("mistakes" in located) throw new ConfigError([...refused.mistakes, ...located.mistakes]);
    this.state = "refused";
    this.mistakes = refused.mistakes;
    return located;
  }

  /** The mesh has started: from now on what the source says is considered as it comes. */
  begin(): void {
    this.#starting = false;
    const layer = this.#refused;
    if (this.source.required === true) {
      const stands = this.state !== "refused";
      if (stands) {
        this.#refused = undefined;
        this.state = "current";
        this.version = layer?.version;
      }
      if (layer !== undefined) this.#report(layer, stands ? "applied" : "refused", this.mistakes);
    } else if (this.#news.layer === undefined && this.#news.error === undefined) {
      this.#silence = this.#parts.runtime.after(ANSWER_MS, () => this.#isSilent(), undefined);
      return;
    }
    this.#flush();
  }

  #isSilent(): void {
    this.#fail(new Error(`it has not answered within ${ANSWER_MS / 1_000} s`));
  }

  #open(): void {
    let live = true;
    this.#endOfSink = () => (live = false);
    const came = (news: News): void => {
      if (live) this.#came(news);
      else this.#parts.happened("late", []);
    };
    const sink: ConfigSink = {
      replace: (given) => came({ layer: { given } }),
      failed: (error) => came({ layer: this.#news.layer, error: errorOf(error) }),
    };
    try {
      const { runtime, log } = this.#parts;
      const watch: unknown = this.source.watch(sink, { runtime, log });
      this.#caught(watch);
      if (!isRaw(watch) || typeof watch["stop"] !== "function") {
        throw new TypeError("watch has not given an object with stop");
      }
      this.#watch = watch;
    } catch (error) {
      live = false;
      this.#came({ error: errorOf(error) });
      this.#restart = this.#parts.runtime.after(this.#restartMs, () => this.#open(), undefined);
      this.#restartMs = Math.min(2 * this.#restartMs, MAX_RESTART_MS);
    }
  }

  // ── what it says ─────────────────────────────────────────────────────────────────────────────

  #came(news: News): void {
    this.#silence?.cancel();
    this.#news = news;
    if (!this.#starting && this.#gap === undefined) this.#flush();
  }

  #flush(): void {
    this.#gap = undefined;
    const { layer, error } = this.#news;
    if (this.#stopped || (layer === undefined && error === undefined)) return;
    this.#news = {};
    this.#gap = this.#parts.runtime.after(GAP_MS, () => this.#flush(), undefined);
    if (layer !== undefined) {
      const located = this.#locate(layer.given);
      if ("mistakes" in located) this.#refuse(located.mistakes);
      else this.#consider(located, false);
    }
    if (error !== undefined) this.#fail(error);
  }

  /** Something else has changed, which may have stood against what was refused. */
  retry(): void {
    if (this.#refused === undefined || this.#starting || this.#stopped) return;
    this.#consider(this.#refused, true);
  }

  #consider(layer: LocatedLayer, again: boolean): void {
    let changes: boolean;
    try {
      changes = this.#parts.take(layer);
    } catch (error) {
      const mistakes = this.#mistakesOf(error, layer.origin);
      this.#refused = layer;
      // What has been said is not said again.
      if (again && isDeepStrictEqual(mistakes, this.mistakes)) return;
      this.#refuse(mistakes);
      this.#report(layer, "refused", mistakes);
      return;
    }
    this.#refused = undefined;
    this.state = "current";
    this.mistakes = [];
    this.version = layer.version;
    const result = changes ? "applied" : "unchanged";
    this.#parts.happened(result, []);
    this.#report(layer, result, []);
  }

  #fail(error: Error): void {
    this.#refused = undefined;
    if (error instanceof ConfigError) return this.#refuse(error.mistakes);
    this.state = "failed";
    this.mistakes = this.#mistakesOf(error);
    this.#parts.happened("failed", this.mistakes);
  }

  #refuse(mistakes: readonly Mistake[]): void {
    this.state = "refused";
    this.mistakes = mistakes;
    this.#parts.happened("refused", mistakes);
  }

  #report(
    layer: LocatedLayer,
    result: "applied" | "unchanged" | "refused",
    mistakes: readonly Mistake[],
  ): void {
    const { given } = layer;
    if (given === undefined) return;
    const generation = this.#parts.generation();
    try {
      this.#caught(this.#watch?.report?.({ layer: given, result, mistakes, generation }));
    } catch (error) {
      this.#faulty(error);
    }
  }

  /** What it promises is not awaited, and must not end the process. */
  #caught(promise: unknown): void {
    promised(promise)?.catch((error: unknown) => this.#faulty(error));
  }

  /** The source has thrown outside of a report: what is in force stays, and so does its state. */
  #faulty(error: unknown): void {
    if (!this.#stopped) this.#parts.happened("failed", this.#mistakesOf(error));
  }

  #mistakesOf(error: unknown, origin: string = this.source.name): readonly Mistake[] {
    if (error instanceof ConfigError) return error.mistakes;
    return [makeMistake([], `cannot be used: ${messageOf(error)}`, undefined, origin)];
  }

  /** What it gave may be anything. */
  #locate(given: unknown): LocatedLayer | { readonly mistakes: readonly Mistake[] } {
    const { name } = this.source;
    try {
      if (!isRaw(given)) {
        const rule = "must be an object with input, which is what stands in a mesh.yaml";
        return { mistakes: [makeMistake([], rule, given, name)] };
      }
      const { input, version, origin = name, originOf, lineOf } = given;
      for (const [key, text] of Object.entries({ version, origin })) {
        if (text === undefined || (typeof text === "string" && text.length <= MAX_TEXT)) continue;
        const rule = `must be a text of at most ${MAX_TEXT} characters`;
        return { mistakes: [makeMistake([key], rule, text, name)] };
      }
      const text = (value: unknown): string | undefined =>
        typeof value === "string" ? value.slice(0, MAX_TEXT) : undefined;
      const line = (value: unknown): number | undefined =>
        Number.isInteger(value) ? Number(value) : undefined;
      return {
        given: given as unknown as ConfigLayer,
        input,
        version: text(version),
        origin: String(origin),
        originOf: asked(originOf, given, text),
        lineOf: asked(lineOf, given, line),
      };
    } catch (error) {
      return { mistakes: this.#mistakesOf(error) };
    }
  }

  /** Resolves when the source has ended, or after a second. Idempotent, and never rejects. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    // First, so that nothing it says while it ends counts.
    this.#stopped = true;
    this.#endOfSink();
    for (const timer of [this.#gap, this.#silence, this.#restart]) timer?.cancel();
    let timer: Timer | undefined;
    try {
      const ended = promised(this.#watch?.stop?.());
      if (ended === undefined) return;
      const { promise: late, resolve: giveUp } = Promise.withResolvers<void>();
      timer = this.#parts.runtime.after(MAX_STOP_MS, giveUp, undefined, true);
      await Promise.race([ended, late]);
    } catch {
      // A source that throws at its end has ended too.
    } finally {
      timer?.cancel();
    }
  }
}

/** A function of the source that says more about a path; what it throws is no more. */
function asked<T>(
  ask: unknown,
  layer: object,
  read: (value: unknown) => T | undefined,
): ((path: readonly PathPart[]) => T | undefined) | undefined {
  if (typeof ask !== "function") return undefined;
  return (path) => {
    try {
      return read(Reflect.apply(ask, layer, [path]));
    } catch {
      return undefined;
    }
  };
}
