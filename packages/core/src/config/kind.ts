/**
 * What the configuration has to know of a kind of discovery: which keys under `discovery` are its own, and
 * what they mean. `discovery/kind.ts` adds the part that runs. Built-in kinds and those of an application are
 * read, checked and shown by this alone.
 */
import type { Field } from "./field.ts";
import type { PathPart } from "./mistakes.ts";
import type { DiscoveryConfig } from "./types.ts";

/**
 * The object under `discovery`, after its fields have been checked. A field of type `duration` stands in it
 * under its name with `Ms`, as a number of milliseconds; Infinity for `none`.
 */
export type WrittenDiscovery = Readonly<Record<string, unknown>>;

/** What a kind says of one field. Defaults are filled in by its `read`. */
export type KindField = Omit<
  Field,
  "parsed" | "default" | "route" | "live" | "atLeast" | "atMost" | "option"
> & { readonly meaning: string };

/** What the configuration says around the value that a kind reads. */
export interface DiscoveryContext {
  /** Host and port of the service's `url`; undefined if it has none. */
  readonly url: { readonly host: string; readonly port: number } | undefined;
  /** Name of the service. */
  readonly service: string;
  /**
   * Reports a mistake that the fields cannot express. `path` begins behind `discovery`: `["list", "path"]`.
   * All mistakes of a configuration are reported at once; with one of them it is not used.
   */
  readonly mistake: (path: readonly PathPart[], rule: string, value?: unknown) => void;
}

export interface WrittenKind<Options extends object = object> {
  /**
   * The key under `discovery`, and the label `source` of its metrics: lower-case letters, digits and `-`.
   * A name that another kind has is a mistake.
   */
  readonly name: string;
  /**
   * What may be written, by paths that begin behind `discovery`: `list`, `list.path`. One of them is `name`
   * itself. A key beside it, such as `port` beside `dns`, may belong to several
   * kinds if it is of type `integer`, `text` or `any` in each of them. Types, ranges,
   * unknown keys, the JSON schema and the reference page follow from it.
   */
  readonly fields: readonly KindField[];
  /**
   * The options of a service, as plain data, which is compared by value when a configuration changes; undefined
   * after a mistake. Called for wrong input too, so each value must be looked at. Default: the object
   * that stands under `name`.
   */
  read?(written: WrittenDiscovery, context: DiscoveryContext): Options | undefined;
  /** What stands in Host and SNI, if neither `authority` nor `url` says it. Default: the service's name. */
  authority?(options: Options, scheme: "http" | "https"): string | undefined;
  /** The opposite of `read`. Default: the options, under `name`. */
  write?(options: Options): WrittenDiscovery;
  /** A few words for people: `dns orders.shop:8080`. Default: `name`. */
  describe?(options: Options): string;
}

/** The kind of a configuration that is in force, and what the kind has read. Undefined: it is not among `kinds`. */
export function kindAndOptions<Kind extends WrittenKind>(
  discovery: DiscoveryConfig,
  kinds: readonly Kind[],
): { readonly kind: Kind | undefined; readonly options: object } {
  const own = discovery.kind === "own";
  const wanted = own ? discovery.name : discovery.kind;
  return {
    kind: kinds.find(({ name }) => name === wanted),
    options: own ? discovery.options : discovery,
  };
}
