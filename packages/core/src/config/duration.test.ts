import fc from "fast-check";
import { expect, it } from "vitest";
import { formatDuration, parseDuration } from "./duration.ts";

it.each([
  ["500ms", 500],
  ["2s", 2_000],
  ["1m", 60_000],
  ["1h30m", 5_400_000],
  ["1m500ms", 60_500],
  ["0s", 0],
])("%s is %d ms", (text, ms) => expect(parseDuration(text)).toBe(ms));

it.each(["", "5", "s", "1.5s", "-1s", " 1s", "1s ", "1d", "1S", "123456s", "1s1s1s1s1s", "none"])(
  "%j is none",
  (text) => expect(parseDuration(text)).toBeUndefined(),
);

it("reads back what it wrote", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 99_999 * 3_600_000 }),
      (ms) => parseDuration(formatDuration(ms)) === ms,
    ),
  );
  expect(formatDuration(Infinity)).toBe("none");
  expect(formatDuration(5_400_000)).toBe("1h30m");
});
