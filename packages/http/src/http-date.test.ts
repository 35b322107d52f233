import { expect, it } from "vitest";
import { retryAfterMs } from "./headers.ts";
import { parseHttpDate } from "./http-date.ts";

it.each([
  "Sun, 06 Nov 1994 08:49:37 GMT",
  "Sunday, 06-Nov-94 08:49:37 GMT",
  "Sun Nov  6 08:49:37 1994",
])("reads %s", (text) => {
  expect(parseHttpDate(text)).toBe(784_111_777_000);
});

it.each([
  "",
  "-5",
  "1.5",
  "0x10",
  "1994-11-06T08:49:37Z",
  "Sun, 06 Nov 1994 08:49:37",
  "Sun, 06 Nov 1994 08:49:37 +0000",
  "Sun, 31 Feb 1994 08:49:37 GMT",
  "Sun, 00 Nov 1994 08:49:37 GMT",
  "Sun, 06 Nov 1994 24:00:00 GMT",
  "sun, 06 nov 1994 08:49:37 gmt",
  " Sun, 06 Nov 1994 08:49:37 GMT",
])("does not take %j for a date", (text) => {
  expect(parseHttpDate(text)).toBeUndefined();
});

const DATE = "Sun, 06 Nov 1994 08:49:37 GMT";

it.each([
  ["0", 0],
  ["120", 120_000],
  ["9999999999", 9_999_999_999_000],
  ["9".repeat(400), Infinity],
  ["Sun, 06 Nov 1994 08:49:40 GMT", 3_000],
  ["Sun, 06 Nov 1994 08:49:30 GMT", 0],
  ["Sunday, 06-Nov-94 08:50:37 GMT", 60_000],
])("R15 LC: Retry-After %s is %d ms", (text, ms) => {
  expect(retryAfterMs({ "retry-after": text, date: DATE })).toBe(ms);
});

it.each(["", "-5", "+5", "1.5", "1e3", "0x10", "5s", "5, 6", "soon", "2001-05-01"])(
  "R15 LC: Retry-After %j without a meaning says nothing",
  (text) => {
    expect(retryAfterMs({ "retry-after": text, date: DATE })).toBeUndefined();
  },
);

it("R15 LC: a date without the clock that it is measured by says nothing", () => {
  expect(retryAfterMs({ "retry-after": DATE })).toBeUndefined();
  expect(retryAfterMs({ "retry-after": DATE, date: "now" })).toBeUndefined();
});
