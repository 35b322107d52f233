/** What is a `traceparent`, compared with the grammar of W3C Trace Context as an expression. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { isTraceparent } from "./traceparent.ts";

const GRAMMAR =
  /^(?:00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}|(?!00|ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.{0,200})?)$/;
const GOOD = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const NO_TRACE = `00-${"0".repeat(32)}-b7ad6b7169203331-01`;
const NO_SPAN = `00-0af7651916cd43dd8448eb211c80319c-${"0".repeat(16)}-01`;

test("it has the shape, hexadecimal digits in lower case, and no part that is all zeros", () => {
  expect(isTraceparent(GOOD)).toBe(true);
  for (const bad of ["", "00", NO_TRACE, NO_SPAN, GOOD.toUpperCase(), `${GOOD}-`, `${GOOD}\n`]) {
    expect(isTraceparent(bad), bad).toBe(false);
  }
});

test("what differs from a good one in some characters is judged as the grammar does", () => {
  const change = fc.record({
    at: fc.nat(GOOD.length),
    removed: fc.nat(2),
    put: fc.constantFrom("", "0", "f", "g", "/", ":", "`", "F", "-", "é", "\n"),
  });
  const from = fc.constantFrom(GOOD, NO_TRACE, NO_SPAN, `01${GOOD.slice(2)}`, `ff${GOOD.slice(2)}`);
  fc.assert(
    fc.property(from, fc.array(change, { maxLength: 3 }), (text, changes) => {
      let changed = text;
      for (const { at, removed, put } of changes) {
        changed = changed.slice(0, at) + put + changed.slice(at + removed);
      }
      expect(isTraceparent(changed)).toBe(GRAMMAR.test(changed));
    }),
    { numRuns: 2_000 },
  );
});
