/**
 * The contract of a configuration source: something that says how services and servers are to be, and says
 * it again when that changes. The environment and the file are sources (sources/); others come with
 * `createMesh({ sources })`. All of them are followed in the same way (follow.ts).
 */
import type { Log } from "../log.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { type ConfigError, makeMistake, type Mistake, type PathPart } from "./mistakes.ts";
import { rawOf } from "./plain.ts";
import { OUTSIDE_RANKS, type SourceRank } from "./ranks.ts";

/** Everything that a source says at one time. Weaker sources show where it says nothing. */
export interface ConfigLayer {
  /** What stands in a mesh.yaml, as plain data (`MeshInput`): the whole of it, never a difference. */
  readonly input: unknown;
  /** By which the source knows it, up to 256 characters. Shown in `mesh.snapshot()`. Default: none. */
  readonly version?: string | undefined;
  /** Where it is written, up to 256 characters; stands before each mistake. Default: the name of the source. */
  readonly origin?: string | undefined;
  /** A more exact origin of a path, if there is one. */
  readonly originOf?: ((path: readonly PathPart[]) => string | undefined) | undefined;
  /** The line where a path stands, from 1. Asked for mistakes. */
  readonly lineOf?: ((path: readonly PathPart[]) => number | undefined) | undefined;
}

/** Where a source reports to. May be called at any time; what is said after `stop` is ignored and counted. */
export interface ConfigSink {
  /**
   * What the source says from now on. It is validated together with all other sources, and takes effect as a
   * whole or not at all: then the layer before it stays in force. The first counts at once; what follows
   * within 100 ms is taken as one, the newest.
   */
  replace(layer: ConfigLayer): void;
  /** The source does not know its layer at the moment; its last good layer stays. The mistakes of a ConfigError are shown. */
  failed(error: Error): void;
}

/** What has become of a layer. */
export interface ConfigReport {
  /** The object that the source gave. */
  readonly layer: ConfigLayer;
  /** `unchanged`: it is in force and makes no difference. */
  readonly result: "applied" | "unchanged" | "refused";
  /** Everything that is wrong with it, if it was refused. Some may be about what another source says. */
  readonly mistakes: readonly Mistake[];
  /** Version of the mesh's configuration in force, as in `mesh.snapshot().config.version`. */
  readonly generation: number;
}

/** What `watch` returns: what a source learns of its layers, and how it ends it. */
export interface ConfigWatch {
  /**
   * Called once for each layer that was considered, and again if one that was refused is accepted later,
   * because another source has changed. Not about a layer that a newer one has overtaken. May be left out.
   */
  report?(report: ConfigReport): void;
  /**
   * Only of a source that is `required`: called when the mesh starts and what the source says cannot be used.
   * What is returned takes its place until the source says something good. Default: the start fails.
   */
  standIn?(refused: ConfigError): ConfigLayer | undefined;
  /** Called once. The source frees its sockets and timers; a close of the mesh waits up to 1 s for a promise. */
  stop(): void | Promise<void>;
}

/** What a source may use of its mesh. */
export interface SourceMesh {
  /** Time, chance and timers; its timers do not keep the process alive. */
  readonly runtime: Runtime;
  readonly log: Log;
}

/** Says how services and servers are to be, for `createMesh({ sources })`. `name`, `rank` and `watch` are needed. */
export interface ConfigSource {
  /** Label in metrics, and origin of its mistakes: a lower-case letter, then up to 30 of these, digits and `-`. */
  readonly name: string;
  /** Whom it wins over (ranks.ts): `file`, `control-plane` or `override`. One source for each. */
  readonly rank: SourceRank;
  /**
   * The mesh cannot start without it: `watch` has to call the sink before it returns, and `createMesh` throws
   * what is wrong with it. Default false: the mesh starts with what the others say, however long it takes.
   */
  readonly required?: boolean | undefined;
  /** Starts watching, when the mesh is made; the mesh stops it when its `close` begins. */
  watch(sink: ConfigSink, mesh: SourceMesh): ConfigWatch;
}

/** What may be a label `source`: of a configuration source, and of discovery. */
export const SOURCE_NAME: RegExp = /^[a-z][a-z0-9-]{0,30}$/;
const BUILT_IN: ReadonlySet<unknown> = new Set(["code", "default", "environment", "file"]);

/** Of `createMesh({ sources })`. `file`: there is a configuration file, which has that rank. */
export function sourceMistakes(sources: readonly unknown[], file: string | undefined): Mistake[] {
  const names = new Set<unknown>(BUILT_IN);
  const ranks = new Map<unknown, string>(file === undefined ? [] : [["file", `the file ${file}`]]);
  return sources.flatMap((one, i) => {
    const mistakes: Mistake[] = [];
    const report = (key: string, rule: string, value: unknown): void =>
      void mistakes.push(makeMistake(["sources", i, key], rule, value, "createMesh"));
    const { name, rank, watch, required } = rawOf(one);
    if (typeof name !== "string" || !SOURCE_NAME.test(name)) {
      const rule = "must be a lower-case letter and up to 30 lower-case letters, digits and -";
      report("name", rule, name);
    } else if (names.has(name)) report("name", "must be one that no other source has", name);
    names.add(name);
    const owner = ranks.get(rank);
    if (!OUTSIDE_RANKS.some((known) => known === rank)) {
      report("rank", `must be one of ${OUTSIDE_RANKS.join(", ")}`, rank);
    } else if (owner !== undefined) report("rank", `must not be that of ${owner} as well`, rank);
    else ranks.set(rank, typeof name === "string" ? name : `sources[${i}]`);
    if (typeof watch !== "function") report("watch", "must be a function", watch);
    if (required !== undefined && typeof required !== "boolean") {
      report("required", "must be true or false", required);
    }
    return mistakes;
  });
}
