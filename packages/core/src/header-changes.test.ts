import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compileHeaderChanges } from "./header-changes.ts";

const one = (value: string, name = "a") => [{ name, value }];
const given = (add: string[], set: string[], remove: string[]) =>
  compileHeaderChanges({
    add: add.flatMap((value) => one(value)),
    set: set.flatMap((value) => one(value)),
    remove,
  });

describe("changes of headers", () => {
  it("RO-5: what is added is replaced by what is set, and both are removed", () => {
    expect(given(["1"], [], [])).toEqual({ taken: new Set(), given: ["a", "1"] });
    expect(given([], ["2"], [])).toEqual({ taken: new Set(["a"]), given: ["a", "2"] });
    expect(given(["1"], ["2"], [])).toEqual({ taken: new Set(["a"]), given: ["a", "2"] });
    expect(given(["1"], [], ["A"])).toEqual({ taken: new Set(["a"]), given: [] });
    expect(given(["1"], ["2"], ["a"])).toEqual({ taken: new Set(["a"]), given: [] });
  });

  it("are the three lists carried out one after the other", () => {
    const name: fc.Arbitrary<string> = fc.constantFrom("a", "B", "c");
    const value: fc.Arbitrary<string> = fc.constantFrom("1", "2");
    const header = fc.record({ name, value });
    const list = fc.uniqueArray(header, { selector: (each) => each.name });
    const modifier = fc.record({ add: list, set: list, remove: fc.uniqueArray(name) });
    fc.assert(
      fc.property(modifier, list, ({ add, set, remove }, before) => {
        const same = (x: string, y: string): boolean => x.toLowerCase() === y.toLowerCase();
        let expected = [...before, ...add];
        for (const each of set) {
          expected = [...expected.filter((other) => !same(other.name, each.name)), each];
        }
        expected = expected.filter((other) => !remove.some((gone) => same(gone, other.name)));

        const changes = compileHeaderChanges({ add, set, remove });
        const got = before.filter((each) => !changes.taken.has(each.name.toLowerCase()));
        for (let i = 0; i < changes.given.length; i += 2) {
          got.push({ name: changes.given[i]!, value: changes.given[i + 1]! });
        }
        const sorted = (headers: typeof before): string[] =>
          headers.map((each) => `${each.name.toLowerCase()}=${each.value}`).toSorted();
        expect(sorted(got)).toEqual(sorted(expected));
      }),
    );
  });
});
