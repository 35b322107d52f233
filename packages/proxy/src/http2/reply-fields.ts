/** From the fields of an HTTP/2 reply to the head of a message (RFC 9113 §8.3.2). */
import { KIND } from "../fields.ts";
import { UNKNOWN_LENGTH, type ReplyHead } from "../message.ts";
import type { HeadFields } from "./hpack-decoder.ts";
import { BAD_NAME, BAD_VALUE, CONNECTION_SPECIFIC, PSEUDO } from "./hpack-fields.ts";
import { lengthOf } from "./request-fields.ts";

const NEVER = BAD_NAME | BAD_VALUE | CONNECTION_SPECIFIC;
const NO_CONTENT = 204;
const NOT_MODIFIED = 304;

/** `isHead`: the request was a HEAD. `ends`: nothing follows. Undefined: it is good, otherwise what is wrong with it. */
export function readReplyHead(
  { list, count }: HeadFields,
  head: ReplyHead,
  isHead: boolean,
  ends: boolean,
): string | undefined {
  let length = UNKNOWN_LENGTH;
  let regular = false;
  for (let n = 0; n < count; n++) {
    const field = list[n]!;
    const { key, value, flags } = field;
    if (flags !== 0) {
      if ((flags & NEVER) !== 0) return `the field ${JSON.stringify(field.name.slice(0, 64))}`;
      if ((flags & PSEUDO) === 0 || regular || key.text !== ":status" || head.status !== 0) {
        return "pseudo-header fields";
      }
      head.status = statusOf(value);
      if (head.status === 0) return "its :status";
      continue;
    }
    regular = true;
    switch (key.kind) {
      case KIND.plain:
        head.fields.add(field);
        continue;
      case KIND.length: {
        // Twice is once too often, as over HTTP/1 and in requests.
        if (length !== UNKNOWN_LENGTH) return "two of content-length";
        length = lengthOf(value);
        if (length < 0) return "its content-length";
        continue;
      }
      case KIND.dropped:
      case KIND.host:
      case KIND.te:
        continue;
      default:
        if (head.note(key.kind, value)) head.fields.add(field);
    }
  }
  const { status } = head;
  if (status === 0) return "no :status";
  // RFC 9113 §8.1: an interim reply ends nothing, and HTTP/2 has no 101.
  if (status < 200) return ends || status === 101 ? `status ${status}` : undefined;
  if (isHead || status === NOT_MODIFIED || status === NO_CONTENT) {
    head.bodyLength = 0;
    head.saidLength = status === NO_CONTENT ? -1 : length;
  } else if (ends) {
    if (length > 0) return "its content-length, without a body";
    head.bodyLength = 0;
    head.saidLength = length;
  } else if (length === 0) {
    // Only its end comes, or trailers do.
    head.bodyLength = UNKNOWN_LENGTH;
    head.saidLength = 0;
  } else head.bodyLength = length;
  return undefined;
}

/** Three digits from 100 on; 0: it is none. */
function statusOf(value: string): number {
  if (value.length !== 3) return 0;
  const status = lengthOf(value);
  return status >= 100 && status <= 599 ? status : 0;
}
