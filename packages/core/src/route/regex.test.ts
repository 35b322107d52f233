/** The expressions routes may use: whole-text matching, readable refusals, bounded work. */
import { describe, expect, it } from "vitest";
import { compileSafeRegExp } from "./regex.ts";

describe("compileSafeRegExp", () => {
  it.each([
    ["/v1", "/v1", true],
    ["/v1", "/v1/x", false],
    ["/v1", "x/v1", false],
    ["/v1/.*", "/v1/x/y", true],
    ["a|ab", "ab", true],
    ["^/a$", "/a", true],
    ["", "", true],
    ["", "a", false],
    ["abc", "ABC", false],
    ["(?i)abc", "ABC", true],
    ["a.b", "a\nb", false],
    ["(?s)a.b", "a\nb", true],
    ["/v[0-9]+/(users|orders)", "/v12/orders", true],
    ["/v[0-9]+/(users|orders)", "/v12/order", false],
    [".", "\u{1f600}", true],
  ])("%j on %j: %s", (source, text, expected) => {
    const expression = compileSafeRegExp(source);
    expect(expression.test(text)).toBe(expected);
    expect(expression.test(text), "no state between calls").toBe(expected);
  });

  it.each([
    ["[", /invalid regular expression "\[": missing closing \]/],
    ["(?=a)", /invalid or unsupported Perl syntax/],
    ["(?<=a)b", /invalid regular expression/],
    ["(a)\\1", /invalid escape sequence/],
    ["((a{30}){30}){30}", /invalid repeat count/],
    ["a{1000}b{1000}c{1000}d{1000}e{1000}", /too complex: \d+ instructions, at most 4096/],
    ["a".repeat(1025), /too long: 1025 characters, at most 1024/],
    ["(".repeat(1000), /invalid regular expression/],
  ])("refuses %j", (source, message) => {
    expect(() => compileSafeRegExp(source)).toThrow(message);
  });

  // A backtracking engine does not come back from these; that the test ends is the assertion.
  it.each(["(a+)+$", "(a|aa)+", "(.*a){20}b", "(a*)*b", "(a?){500}a{500}b", "([a-z]+)*[0-9]"])(
    "bounded work for %s",
    (source) => {
      const expression = compileSafeRegExp(source);
      expect(expression.test(`${"a".repeat(10_000)}!`)).toBe(false);
    },
  );
});
