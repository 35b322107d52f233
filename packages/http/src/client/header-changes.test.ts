import type { HeaderChanges } from "@inmesh/core/spi";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RawHeaders } from "../headers.ts";
import { changedBytes, changedList, changeFields } from "./header-changes.ts";

const NAMES = ["a", "b", "set-cookie", "constructor"] as const;
const name = fc.constantFrom(...NAMES);
const value = fc.stringMatching(/^[a-z]{1,3}$/);
/** In any case, as peers may send it. */
const sent = fc
  .array(fc.tuple(fc.mixedCase(name), value), { maxLength: 8 })
  .map((pairs) => pairs.flat());
/** One of set, add, remove or nothing for each name, as configuration has it. */
const changes = fc
  .tuple(
    ...NAMES.map((one) =>
      fc.tuple(fc.constant(one), fc.constantFrom("set", "add", "remove", ""), value),
    ),
  )
  .map((all): HeaderChanges => {
    const of = (...kinds: string[]) => all.filter(([, kind]) => kinds.includes(kind));
    return {
      taken: new Set(of("set", "remove").map(([one]) => one)),
      given: of("set", "add").flatMap(([one, , text]) => [one, text]),
    };
  });

const valuesOf = (list: readonly string[], one: string): string[] =>
  list.filter((_, i) => i % 2 === 1 && list[i - 1]!.toLowerCase() === one);

const fieldsOf = (list: readonly string[]): RawHeaders => {
  const fields = Object.create(null) as RawHeaders;
  for (const one of NAMES) {
    const all = valuesOf(list, one);
    if (all.length > 0) fields[one] = all.length === 1 ? all[0] : all;
  }
  return fields;
};

describe("for all heads and changes", () => {
  it("a list, bytes and an object come to the same", () => {
    fc.assert(
      fc.property(sent, changes, (list, change) => {
        const before = [...list];
        const after = changedList(list, change);
        expect(list).toEqual(before);
        const bytes = changedBytes(
          list.map((text) => Buffer.from(text)),
          change,
        );
        expect(bytes.map(String)).toEqual(after);
        const fields = fieldsOf(list);
        changeFields(fields, change);
        expect(fields).toEqual(fieldsOf(after));
      }),
    );
  });

  it("what is set is there once, what is removed is not, what is added stands last, the rest as it was", () => {
    fc.assert(
      fc.property(sent, changes, (list, { taken, given }) => {
        const after = changedList(list, { taken, given });
        for (const one of NAMES) {
          const kept = taken.has(one) ? [] : valuesOf(list, one);
          expect(valuesOf(after, one)).toEqual([...kept, ...valuesOf(given, one)]);
        }
      }),
    );
  });

  it("applied twice, only what is added is there twice", () => {
    fc.assert(
      fc.property(sent, changes, (list, change) => {
        const once = changedList(list, change);
        const twice = changedList(once, change);
        for (const one of NAMES) {
          const added = change.taken.has(one) ? [] : valuesOf(change.given, one);
          expect(valuesOf(twice, one)).toEqual([...valuesOf(once, one), ...added]);
        }
      }),
    );
  });
});

it("a plain object is not searched above itself", () => {
  const fields: RawHeaders = {};
  changeFields(fields, { taken: new Set(), given: ["constructor", "x"] });
  expect(fields).toEqual({ constructor: "x" });
});
