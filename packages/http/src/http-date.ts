/**
 * The date of a header, in the three forms that recipients must accept (RFC 9110 §5.6.7). What JavaScript
 * takes for a date is more: `-5` is one of May 2001.
 */

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const MONTH = `(?<month>${MONTHS.join("|")})`;
const TIME = String.raw`(?<hour>\d\d):(?<minute>\d\d):(?<second>\d\d)`;
const FORMS: readonly RegExp[] = [
  // Sun, 06 Nov 1994 08:49:37 GMT
  new RegExp(
    String.raw`^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?<day>\d\d) ${MONTH} (?<year>\d{4}) ${TIME} GMT$`,
  ),
  // Sunday, 06-Nov-94 08:49:37 GMT
  new RegExp(
    String.raw`^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?<day>\d\d)-${MONTH}-(?<year>\d\d) ${TIME} GMT$`,
  ),
  // Sun Nov  6 08:49:37 1994
  new RegExp(
    String.raw`^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ${MONTH} (?<day>[ \d]\d) ${TIME} (?<year>\d{4})$`,
  ),
];

/** Milliseconds since 1970; undefined for what is no date. */
export function parseHttpDate(text: string): number | undefined {
  for (const form of FORMS) {
    const parts = form.exec(text)?.groups;
    if (parts !== undefined) return millisecondsOf(parts);
  }
  return undefined;
}

function millisecondsOf(parts: Readonly<Record<string, string>>): number | undefined {
  const [year, day, hour, minute, second] = ["year", "day", "hour", "minute", "second"].map(
    (name) => Number(parts[name]),
  ) as [number, number, number, number, number];
  // A leap second is one; a day that its month has not would be read as one of the next month.
  if (day < 1 || hour > 23 || minute > 59 || second > 60) return undefined;
  const month = MONTHS.indexOf(parts["month"]!);
  const century = year >= 100 ? 0 : year < 70 ? 2000 : 1900;
  // oxlint-disable-next-line no-restricted-globals -- computes with what was read; reads no clock
  const startMs = Date.UTC(century + year, month, day);
  // oxlint-disable-next-line no-restricted-globals -- the same
  if (new Date(startMs).getUTCMonth() !== month) return undefined;
  return startMs + ((hour * 60 + minute) * 60 + second) * 1000;
}
