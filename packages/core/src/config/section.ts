/**
 * A section of the configuration that a package outside reads, such as `proxy` of mesh-proxy: it stands in the same
 * file beside `services`, is merged, validated and taken into force together with them, and every mistake of both is
 * reported at once. One file can then serve several programs, each of which reads what is about it.
 */
import { messageOf } from "../errors.ts";
import { readFields } from "./discovery-schema.ts";
import type { KindField, WrittenKind } from "./kind.ts";
import { makeMistake, type Mistake, type PathPart } from "./mistakes.ts";
import { emptyRaw, isRaw, type Raw, rawOf, type Report } from "./plain.ts";

/** What the configuration says around a section. */
export interface SectionContext {
  /** Names of the services that the configuration describes. */
  readonly services: ReadonlySet<string>;
  /** Reports a mistake that the fields cannot express. `path` begins behind the name of the section. */
  readonly mistake: (path: readonly PathPart[], rule: string, value?: unknown) => void;
}

export interface ConfigSection<Value extends object = object> {
  /** The key beside `services`: a lower-case letter, then letters, digits and `-`. */
  readonly name: string;
  /**
   * What may be written, by paths that begin behind the name: `listeners`, `listeners.*.listen`, where `*` is a name.
   * Types, ranges, unknown keys and the schema for editors follow from it. A field of type `duration` is read under
   * its name with `Ms`, as a number of milliseconds; Infinity for `none`.
   */
  readonly fields: readonly KindField[];
  /**
   * The value, as plain data, which is compared by value when the configuration changes; undefined after a mistake.
   * Called where the section is written, for wrong input too, so each value must be looked at.
   */
  read(written: Readonly<Record<string, unknown>>, context: SectionContext): Value | undefined;
}

export const NO_SECTIONS: readonly ConfigSection[] = [];

/** What may stand in a configuration beside the built-in fields, and what it may refer to. */
export interface Known {
  /** Kinds of discovery, the built-in ones included. */
  readonly kinds: readonly WrittenKind[];
  /** Default: none. */
  readonly sections?: readonly ConfigSection[] | undefined;
  /** Names of the identity sources beside `files`. Default: any name is taken. */
  readonly identities?: readonly string[] | undefined;
}

/** Sections of other programs, which a program that does not have them passes over. */
export const OF_OTHER_PROGRAMS: readonly string[] = ["proxy"];
const BUILT_IN: ReadonlySet<unknown> = new Set(["defaults", "services", "servers"]);
const NAME = /^[a-z][A-Za-z0-9-]{0,30}$/;

/** Of `createMesh({ sections })`. */
export function sectionMistakes(sections: readonly unknown[]): Mistake[] {
  const names = new Set<unknown>(BUILT_IN);
  return sections.flatMap((one, i) => {
    const mistakes: Mistake[] = [];
    const report = (key: string, rule: string, value: unknown): void =>
      void mistakes.push(makeMistake(["sections", i, key], rule, value, "createMesh"));
    const { name, fields, read } = rawOf(one);
    if (typeof name !== "string" || !NAME.test(name)) {
      report("name", "must be a lower-case letter and up to 30 letters, digits and -", name);
    } else if (names.has(name)) report("name", "must be one that no other section has", name);
    names.add(name);
    if (!Array.isArray(fields)) report("fields", "must be a list", fields);
    if (typeof read !== "function") report("read", "must be a function", read);
    return mistakes;
  });
}

/** By name; undefined: none is written, or none of those is known. */
export function readSections(
  written: Raw,
  sections: readonly ConfigSection[],
  services: ReadonlySet<string>,
  report: Report,
): Record<string, object> | undefined {
  let values: Record<string, object> | undefined;
  for (const section of sections) {
    const { name } = section;
    if (!isRaw(written[name])) continue;
    const value = readSection(section, written[name], services, report);
    if (value !== undefined) (values ??= emptyRaw() as Record<string, object>)[name] = value;
  }
  return values;
}

function readSection(
  section: ConfigSection,
  written: Raw,
  services: ReadonlySet<string>,
  report: Report,
): object | undefined {
  const { name, fields } = section;
  try {
    return section.read(readFields(fields, written, [name], report), {
      services,
      mistake: (path, rule, value) => report([name, ...path], rule, value),
    });
  } catch (error) {
    report([name], `could not be read: ${messageOf(error)}`, undefined);
    return undefined;
  }
}
