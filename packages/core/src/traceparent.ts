/** What a W3C `traceparent` may be: anything else is no trace. */

const TRACEPARENT_00 = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;
/** Versions to come may have more behind it; ff is forbidden. */
const TRACEPARENT_LATER =
  /^(?!00|ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.{0,200})?$/;

export function isTraceparent(text: string): boolean {
  return TRACEPARENT_00.test(text) || TRACEPARENT_LATER.test(text);
}

/** Cheap, and false for most that are not one: where it matters, `isTraceparent` is asked. */
export function hasTraceparentShape(text: string): boolean {
  return (
    text.length === 55 &&
    text.charCodeAt(2) === 45 &&
    text.charCodeAt(35) === 45 &&
    text.charCodeAt(52) === 45
  );
}
