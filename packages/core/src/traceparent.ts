/** What a W3C `traceparent` may be: anything else is no trace. */

/**
 * Versions to come may have more behind it; ff is forbidden. That of today is compared by hand: servers look at that of
 * each request, and an expression takes four times as long.
 */
const TRACEPARENT_LATER =
  /^(?!00|ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.{0,200})?$/;
const ZERO = 48;

export function isTraceparent(text: string): boolean {
  if (text.charCodeAt(0) !== ZERO || text.charCodeAt(1) !== ZERO) {
    return TRACEPARENT_LATER.test(text);
  }
  return (
    hasTraceparentShape(text) && isId(text, 3, 35) && isId(text, 36, 52) && isHex(text, 53, 55)
  );
}

/** Hexadecimal digits in lower case, and not all of them 0. */
function isId(text: string, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    if (text.charCodeAt(at) !== ZERO) return isHex(text, at, end);
  }
  return false;
}

function isHex(text: string, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    const code = text.charCodeAt(at);
    if ((code < ZERO || code > 57) && (code < 97 || code > 102)) return false;
  }
  return true;
}

/**
 * The trace that a `traceparent` belongs to, if it is valid and its sender records it (the last bit of the flags).
 * What is not sampled costs a look at one character.
 */
export function sampledTraceId(traceparent: string | undefined): string | undefined {
  if (traceparent === undefined || traceparent.length < 55) return undefined;
  const flags = traceparent.charCodeAt(54);
  // Of digits the code is as odd as the digit, of the letters a to f it is the other way round.
  const isSampled = flags <= 57 ? (flags & 1) === 1 : (flags & 1) === 0;
  return isSampled && isTraceparent(traceparent) ? traceparent.slice(3, 35) : undefined;
}

const TRACE_ID = /^(?!0{32})[0-9a-f]{32}$/;

/** As it is; throws a TypeError for what is no trace id, which would stand on pages of metrics. */
export function checkedTraceId(text: string | undefined): string | undefined {
  if (text === undefined || (typeof text === "string" && TRACE_ID.test(text))) return text;
  throw new TypeError(`traceId: must be 32 hexadecimal digits in lower case, not all 0`);
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
