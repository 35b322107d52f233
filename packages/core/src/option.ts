/**
 * How a capability describes its options: one object in its folder's `options.ts`, an entry for each option
 * with type, default and range, and the rest (meaning, reason, when it has no effect, what others call it) in
 * the entry's doc comment. Everything else is derived: the types below, the parser, the schema for editors,
 * and docs/reference/config.md. Doc comments are read by scripts/option-docs.ts; no process has them in memory.
 *
 * A doc comment begins with the meaning. Then, each on a line of its own: `- Reason: `, `- No effect when `,
 * `- Elsewhere: `, and `- Range: ` where the entry does not say it.
 */

interface Base {
  /** A route may write it too. */
  readonly route?: true;
  /** Of servers: a change counts while they run. The others count when a server is made. */
  readonly live?: true;
  /** The name in parsed configurations, if it is another. */
  readonly as?: string;
  /** Another of its group, which it must not be below. */
  readonly atLeast?: string;
  /** Others of its group: it must not be above the largest, and is lowered to it where it is inherited. */
  readonly atMost?: readonly string[];
}

/** Durations are written with their unit, here too; in code a number under the name with `Ms`. */
interface DurationOption extends Base {
  readonly type: "duration";
  readonly default: string;
  /** Default: `0s`. */
  readonly min?: string;
  readonly max: string;
  /** `none` may be written, and means Infinity. */
  readonly none?: true;
}

interface NumberOption extends Base {
  readonly type: "integer" | "number";
  readonly unit: string;
  readonly default: number;
  /** Default: 0. */
  readonly min?: number;
  readonly max: number;
}

interface BooleanOption extends Base {
  readonly type: "boolean";
  readonly default: boolean;
}

interface ChoiceOption extends Base {
  readonly type: "choice";
  readonly choices: readonly string[];
  readonly default: string;
}

/** Different whole numbers. */
interface ListOption extends Base {
  readonly type: "list";
  readonly unit: string;
  readonly default: readonly number[];
  readonly min: number;
  readonly max: number;
}

/** `pem`: the path of a PEM file, or the PEM itself. Undefined where it is not written. */
interface TextOption extends Base {
  readonly type: "text" | "pem";
  readonly defaultText: string;
}

/** A text that is always there. */
interface NameOption extends Base {
  readonly type: "text";
  readonly default: string;
}

/** At most 100. Undefined where they are not written. */
interface NamesOption extends Base {
  readonly type: "names";
  readonly defaultText: string;
}

export type Option =
  | DurationOption
  | NumberOption
  | BooleanOption
  | ChoiceOption
  | ListOption
  | NamesOption
  | TextOption
  | NameOption;

/** The options of a capability by the names that users write. */
export type Options = Readonly<Record<string, Option>>;

type ValueOf<O> = O extends { readonly type: "duration" | "integer" | "number" }
  ? number
  : O extends { readonly type: "boolean" }
    ? boolean
    : O extends { readonly choices: readonly (infer Choice)[] }
      ? Choice
      : O extends { readonly type: "list" }
        ? readonly number[]
        : O extends { readonly type: "names" }
          ? readonly string[] | undefined
          : O extends { readonly type: "text"; readonly default: string }
            ? string
            : string | undefined;

type ParsedName<Name, O> = O extends { readonly as: infer As extends string }
  ? As
  : O extends { readonly type: "duration" }
    ? `${Name & string}Ms`
    : Name;

type MillisecondNames<Name, O> = O extends { readonly type: "duration" }
  ? `${Name & string}Ms` | ParsedName<Name, O>
  : never;

/** What parsing makes of them: every option present, numbers with their unit in the name. */
export type ParsedOptions<T extends Options> = {
  readonly [Name in keyof T as ParsedName<Name, T[Name]>]: ValueOf<T[Name]>;
};

/** Of these, what a route has of its own. */
export type RouteOptions<T extends Options> = {
  readonly [
    Name in keyof T as T[Name] extends { readonly route: true } ? ParsedName<Name, T[Name]> : never
  ]: ValueOf<T[Name]>;
};

/** What users write, all of it optional: a duration as text, or as a number under its name with `Ms`. */
export type WrittenOptions<T extends Options> = {
  readonly [Name in keyof T]?: T[Name] extends { readonly type: "duration" }
    ? string
    : ValueOf<T[Name]>;
} & { readonly [Name in keyof T as MillisecondNames<Name, T[Name]>]?: number };

/** Of these, what may be written in a route. */
export type WrittenRouteOptions<T extends Options> = WrittenOptions<{
  readonly [Name in keyof T as T[Name] extends { readonly route: true } ? Name : never]: T[Name];
}>;
