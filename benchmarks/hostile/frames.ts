/**
 * Frames of HTTP/2 as they are written in the corpus, one after the other with ` | ` between:
 *
 *   [N*]NAME[+FLAGS] [stream] …    N times; FLAGS in hex instead of those of the name
 *
 *   H HE      HEADERS with END_HEADERS; HE ends the stream too. Then fields: name=value, ~name=value
 *             (into the table), !82be (bytes of HPACK)
 *   C CE      CONTINUATION without and with END_HEADERS
 *   GET POST HEAD PUT OPTIONS   a request's HEADERS: stream, path, further fields; only POST and PUT
 *             leave the stream open
 *   CALL      likewise of a gRPC call
 *   D DE      DATA; DE ends the stream. Then text, or m:text (a gRPC message), m1:text (flag 1),
 *             m@9:text (says 9 bytes)
 *   R 1 8 (RST_STREAM, code)   S 3=100 …   SA   P PA   G 0 0 text (GOAWAY)   W 0 1 (WINDOW_UPDATE)
 *   Y 1 0 (PRIORITY, depends on a stream)   PP $ 2 fields (PUSH_PROMISE)   X type flags stream hex
 *             (in which `$` is the stream of the frame, in four bytes)
 *   RAW text  these bytes   L+5 … , L-5 …   a frame that says so many bytes more or less
 *   wait 50   pause   end   reset   nopreface (first: no preface, no settings)
 *
 * A stream is a number, `$` (the one asked on, at a client), or either with `+n`, which grows with each
 * repetition. `{9*x#=y}` as a word is nine words. Text has the escapes of notation.ts. What is written wrongly is left out.
 */
import { bytesOf, stepsOf, unescaped, type Step } from "./notation.ts";
import {
  frame,
  PREFACE,
  text as stringOf,
  words,
} from "../../packages/http/test/support/h2-frames.ts";

const FLAGS: Readonly<Record<string, readonly [type: number, flags: number]>> = {
  H: [1, 4], HE: [1, 5], C: [9, 0], CE: [9, 4], D: [0, 0], DE: [0, 1], R: [3, 0], S: [4, 0], SA: [4, 1],
  P: [6, 0], PA: [6, 1], G: [7, 0], W: [8, 0], Y: [2, 0], PP: [5, 4],
  GET: [1, 5], HEAD: [1, 5], OPTIONS: [1, 5], POST: [1, 4], PUT: [1, 4], CALL: [1, 4],
}; // prettier-ignore
const METHODS = new Set(["GET", "HEAD", "OPTIONS", "POST", "PUT"]);
const MAX_TIMES = 100_000;
const MAX_BYTES = 24_000_000;

/** The steps of a client's line, with its preface. */
export function clientSteps(text: string): Step[] {
  const steps = frameSteps(text.replace(/^nopreface(?: \| )?/, ""), 0);
  if (text.startsWith("nopreface")) return steps;
  const preface = Buffer.concat([PREFACE, frame(4, 0, 0, Buffer.alloc(0))]);
  return [{ kind: "bytes", bytes: preface }, ...steps];
}

/** `own`: the stream that `$` means. */
export function frameSteps(text: string, own: number): Step[] {
  const steps: Step[] = [];
  let pending: Buffer[] = [];
  let room = MAX_BYTES;
  const flush = (): void => {
    if (pending.length > 0) steps.push({ kind: "bytes", bytes: Buffer.concat(pending) });
    pending = [];
  };
  for (const unit of text.split(" | ")) {
    const special = /^(?:wait (\d+)|(pause|end|reset))$/.exec(unit);
    if (special !== null) {
      flush();
      if (special[1] === undefined) steps.push({ kind: special[2] as "end" });
      else steps.push({ kind: "wait", ms: Math.min(2_000, Number(special[1])) });
      continue;
    }
    const [, times = "1", one = ""] = /^(?:(\d+)\*)?(.*)$/s.exec(unit)!;
    for (let i = 0; i < Math.min(Number(times), MAX_TIMES) && room > 0; i++) {
      const bytes = frameOf(one, own, i);
      room -= bytes.length + 1;
      pending.push(bytes);
    }
  }
  flush();
  return steps;
}

function frameOf(text: string, own: number, repetition: number): Buffer {
  const wrong = /^L([+-]\d+) (.*)$/s.exec(text);
  if (wrong !== null) {
    const inner = frameOf(wrong[2]!, own, repetition);
    if (inner.length < 9) return inner;
    const length = Math.max(0, Math.min(0xffffff, inner.length - 9 + Number(wrong[1])));
    inner.writeUIntBE(length, 0, 3);
    return inner;
  }
  if (text.startsWith("RAW ")) return bytesOf(stepsOf(text.slice(4)));
  const [head = "", ...words_] = text.split(" ").flatMap(wordsOf);
  const [, name = "", flagsText] = /^([A-Z]+)(?:\+([0-9a-fA-F]{1,2}))?$/.exec(head) ?? [];
  const stream = (word = "0"): number => {
    const [, first = "", step = "0"] = /^(\$|\d+)(?:\+(\d+))?$/.exec(word) ?? [];
    const start = first === "$" ? own : Number(first);
    // `$+2` alone means the next stream.
    const times = first === "$" && repetition === 0 ? 1 : repetition;
    return (start + Number(step) * times) % 2 ** 32 || 0;
  };
  if (name === "X") {
    const [type, flags, id, given = ""] = words_;
    const hex = given.replaceAll("$", words(stream(id)).toString("hex"));
    return frame(Number(type) & 255 || 0, Number(flags) & 255 || 0, stream(id), Buffer.from(hex, "hex"));
  }
  const known = FLAGS[name];
  if (known === undefined) return Buffer.alloc(0);
  const [type, usual] = known;
  const flags = flagsText === undefined ? usual : Number.parseInt(flagsText, 16);
  const numbers = words_.map((word) => Number(word) || 0);
  switch (name) {
    case "S":
      return frame(type, flags, 0, settingsOf(words_));
    case "SA":
      return frame(type, flags, 0, Buffer.alloc(0));
    case "P":
    case "PA":
      return frame(type, flags, 0, words(0, numbers[0] ?? 0));
    case "G":
      return frame(type, flags, 0, Buffer.concat([words(numbers[0] ?? 0, numbers[1] ?? 0), Buffer.from(words_.slice(2).join(" "))]));
    case "W":
    case "R":
      return frame(type, flags, stream(words_[0]), words(numbers[1] ?? 0));
    case "Y":
      return frame(type, flags, stream(words_[0]), Buffer.concat([words(stream(words_[1])), Buffer.from([15])]));
    case "PP":
      return frame(type, flags, stream(words_[0]), Buffer.concat([words(numbers[1] ?? 0), blockOf(words_.slice(2))]));
    case "D":
    case "DE":
      return frame(type, flags, stream(words_[0]), Buffer.concat(words_.slice(1).map(dataOf)));
    case "CALL":
      return frame(type, flags, stream(words_[0]), blockOf([":method=POST", ":scheme=http", `:path=${words_[1] ?? "/"}`, ":authority=a", "content-type=application/grpc", "te=trailers", ...words_.slice(2)]));
    default: {
      const fields = METHODS.has(name)
        ? [`:method=${name}`, ":scheme=http", `:path=${words_[1] ?? "/"}`, ":authority=a", ...words_.slice(2)]
        : words_.slice(1);
      return frame(type, flags, stream(words_[0]), blockOf(fields));
    }
  }
} // prettier-ignore

function wordsOf(word: string): string[] {
  const [, times, one = ""] = /^\{(\d+)\*([^}]+=[^}]*)\}$/.exec(word) ?? [];
  if (times === undefined) return word === "" ? [] : [word];
  const count = Math.min(Number(times), 5_000);
  return Array.from({ length: count }, (_, i) => one.replaceAll("#", String(i)));
}

function settingsOf(pairs: readonly string[]): Buffer {
  const payload = Buffer.alloc(6 * pairs.length);
  for (const [i, pair] of pairs.entries()) {
    const [id = 0, value = 0] = pair.split("=").map(Number);
    payload.writeUInt16BE(id & 0xffff || 0, 6 * i);
    payload.writeUInt32BE(value >>> 0, 6 * i + 2);
  }
  return payload;
}

/** Of a word behind DATA: text, or a message of gRPC. */
function dataOf(word: string): Buffer {
  const [, flag = "", said, text = ""] = /^m([01]?)(?:@(\d+))?:(.*)$/s.exec(word) ?? [];
  if (!/^m[01]?(?:@\d+)?:/.test(word)) return Buffer.from(unescaped(word), "latin1");
  const bytes = Buffer.from(unescaped(text), "latin1");
  return Buffer.concat([
    Buffer.from([Number(flag)]),
    words(said === undefined ? bytes.length : Number(said)),
    bytes,
  ]);
}

/** A header block: literals that no table remembers, unless they are written otherwise. */
function blockOf(fields: readonly string[]): Buffer {
  return Buffer.concat(
    fields.map((field) => {
      if (field.startsWith("!")) return Buffer.from(field.slice(1), "hex");
      const [, table = "", name = "", value = ""] = /^(~?)([^=]*)=?(.*)$/s.exec(field)!;
      const kind = Buffer.from([table === "" ? 0 : 0x40]);
      return Buffer.concat([kind, stringOf(unescaped(name)), stringOf(unescaped(value))]);
    }),
  );
}
