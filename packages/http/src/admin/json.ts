/** Answers as JSON texts that can be printed without harm, made in pieces because there may be much to say. */
import type { Runtime } from "@inmesh/core/spi";
import { inSlices } from "@inmesh/core/spi/inspect";

/**
 * What JSON leaves as it is and a terminal or an editor does not: further control characters, line separators, and
 * characters that turn the direction of text. They stand in strings alone, where `\u….` means the same.
 */
const UNSAFE = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/gu;

/** Members of an answer, and of the answers within a dump; further below nothing is long. */
const DEPTH = 2;

/** Characters that become bytes at once. */
const BUFFER_LENGTH = 65_536;

/** The bytes of an answer, with the I/O of the process in between. Lists may be iterables. */
export async function answerBytes(
  answer: object,
  runtime: Pick<Runtime, "now" | "afterIo">,
): Promise<readonly Buffer[]> {
  const buffers: Buffer[] = [];
  let pieces: string[] = [];
  let length = 0;
  const flush = (): void => {
    buffers.push(Buffer.from(pieces.join("")));
    pieces = [];
    length = 0;
  };
  // A piece may be a service with all its routes, and the whole many megabytes: it becomes bytes bit by bit.
  const take = (piece: string): void => {
    pieces.push(piece);
    length += piece.length;
    if (length >= BUFFER_LENGTH) flush();
  };
  await inSlices(jsonPieces(answer), runtime, take, 1);
  take("\n");
  flush();
  return buffers;
}

export function safeJson(value: unknown): string {
  return escaped(JSON.stringify(value));
}

/** The same as `safeJson`; lists may be iterables. */
function* jsonPieces(value: object, depth: number = DEPTH): Iterable<string> {
  if (Symbol.iterator in value) {
    yield "[";
    let comma = "";
    for (const item of value as Iterable<unknown>) {
      yield comma + safeJson(item);
      comma = ",";
    }
    yield "]";
    return;
  }
  yield "{";
  let comma = "";
  for (const [name, member] of Object.entries(value) as [string, unknown][]) {
    if (member === undefined) continue;
    yield `${comma}${safeJson(name)}:`;
    if (depth > 0 && typeof member === "object" && member !== null) {
      yield* jsonPieces(member, depth - 1);
    } else yield safeJson(member);
    comma = ",";
  }
  yield "}";
}

function escaped(json: string): string {
  return json.replace(UNSAFE, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
