/**
 * Text that came from a process or from its peers: made harmless for a terminal, measured in columns, and cut
 * to fit.
 */

/**
 * Control characters, which move the cursor or change the terminal; format characters, which turn the order of
 * what is read (bidi) or are not seen at all; separators that break a line; halves of surrogate pairs.
 */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
const NOT_ASCII = /[^\x20-\x7e]/gu;
const PLAIN = /^[\x20-\x7e]*$/;

/** Shows what is unsafe as `\u{1b}`. With `ascii`, everything that is not ASCII too. */
export function escaped(text: string, ascii = false): string {
  if (PLAIN.test(text)) return text;
  return text.replaceAll(ascii ? NOT_ASCII : UNSAFE, named);
}

function named(character: string): string {
  if (character === "\n") return String.raw`\n`;
  if (character === "\r") return String.raw`\r`;
  if (character === "\t") return String.raw`\t`;
  return `\\u{${character.codePointAt(0)!.toString(16)}}`;
}

/** The same data as JSON, with every unsafe character in JSON's own notation. */
export function safeJson(value: unknown, space?: number, ascii = false): string {
  const text = JSON.stringify(value, undefined, space);
  // JSON.stringify has escaped what is below U+0020; a line break that is left here is one between two values.
  return text.replaceAll(ascii ? /[^\x20-\x7e\n]/gu : /[^\P{C}\n]|[\u2028\u2029]/gu, inJson);
}

function inJson(character: string): string {
  let text = "";
  for (let i = 0; i < character.length; i++) {
    text += `\\u${character.charCodeAt(i).toString(16).padStart(4, "0")}`;
  }
  return text;
}

const NO_WIDTH = /^[\p{Mn}\p{Me}]$/u;
/** Katakana and Hangul in half their width. */
const HALF = /^[\uff61-\uffdc\uffe8-\uffee]$/;
const WIDE =
  /^[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Hangul}\p{Emoji_Presentation}\u3000-\u303e\uff01-\uff60\uffe0-\uffe6]$/u;

/** Columns of a terminal that `text` takes. It must have been escaped. */
export function widthOf(text: string): number {
  if (PLAIN.test(text)) return text.length;
  let width = 0;
  for (const character of text) width += characterWidth(character);
  return width;
}

function characterWidth(character: string): number {
  if (PLAIN.test(character)) return 1;
  if (NO_WIDTH.test(character)) return 0;
  return WIDE.test(character) && !HALF.test(character) ? 2 : 1;
}

export function padded(text: string, width: number, align: "left" | "right"): string {
  const space = " ".repeat(Math.max(0, width - widthOf(text)));
  return align === "left" ? text + space : space + text;
}

/** The beginning of `text`, with `mark` behind it where something was cut off. */
export function cutEnd(text: string, width: number, mark: string): string {
  if (widthOf(text) <= width) return text;
  return firstColumns(Array.from(text), width - mark.length) + mark;
}

/**
 * Beginning and end of `text` with `mark` between them: names of one kind often differ in their last characters
 * only. `endShare` is the share of the room that the end gets.
 */
export function cutMiddle(text: string, width: number, mark: string, endShare = 0.5): string {
  if (widthOf(text) <= width) return text;
  const room = Math.max(0, width - mark.length);
  const end = Math.floor(room * endShare);
  const characters = Array.from(text);
  const tail = firstColumns(characters.toReversed(), end);
  return (
    firstColumns(characters, room - widthOf(tail)) + mark + Array.from(tail).toReversed().join("")
  );
}

function firstColumns(characters: readonly string[], width: number): string {
  let taken = "";
  let left = width;
  for (const character of characters) {
    left -= characterWidth(character);
    if (left < 0) break;
    taken += character;
  }
  return taken;
}
