/**
 * Mutations that know the structure of an input: they work on the units of its notation (lines of a
 * head, frames, records), their fields and numbers, and on where writes end, not on loose bytes.
 */
import type { Input, Surface } from "./corpus.ts";
import type { Random } from "./random.ts";

/** What stands between the units of an input. */
const SEPARATORS: Readonly<Record<Surface, string>> = {
  "http1-server": "\\n",
  "http1-client": "\\n",
  "http2-server": " | ",
  "http2-client": " | ",
  "grpc-server": " | ",
  "grpc-client": " | ",
  dns: " | ",
  config: "\\l",
  pem: "\\l",
};
const NUMBERS = [
  "0", "1", "-1", "00", "+1", "0x1", "1e3", "1.5", "255", "256", "16383", "16384", "65535", "65536",
  "2147483647", "2147483648", "4294967295", "4294967296", "9007199254740993",
  "18446744073709551616", "99999999999999999999999", "NaN", "Infinity", "",
]; // prettier-ignore
const CHARACTERS = [
  "\\0", "\\r", "\\l", "\\t", "\\s", "\\x0b", "\\x0c", "\\x1b", "\\x7f", "\\x80", "\\xff", "\\xc0\\x80",
  "\\xe2\\x80\\xae", ":", ";", ",", "=", "\"", "%00", "%0d%0a", "#", "?", "/", "\\\\", "@", "[", "]", "\\{", "\\}",
]; // prettier-ignore
const BREAKS = ["\\n", "\\l", "\\r", "\\n\\s", "\\n\\t", "\\l\\r", "\\r\\l", "\\n\\n"];
const PAUSES = ["{part}", "{part}", "{wait 1}", "{wait 20}", "{end}"];
const FIELDS: Partial<Record<Surface, readonly string[]>> = {
  "http1-server": [
    "Content-Length: 5", "Content-Length: 0", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked",
    "Host: b", "Host:", "Connection: close", "Connection: upgrade", "Upgrade: h2c", "Expect: 100-continue",
    "x-mesh-timeout-ms: 1", "x-mesh-timeout-ms: 99999999999", "x-mesh-attempt: 9", "x-mesh-hops: 15",
    "x-mesh-priority: critical", "x-mesh-error: overloaded", "x-mesh-client-id: root", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "baggage: a=b", "tracestate: a=b", "Trailer: x", "TE: trailers", "grpc-timeout: 1n", "__proto__: 1",
    "GET /c HTTP/1.1", "POST /e HTTP/1.1", "HEAD /b HTTP/1.0", "5", "0", "abcde",
  ],
  "http1-client": [
    "HTTP/1.1 200 OK", "HTTP/1.1 204 No Content", "HTTP/1.1 304 Not Modified", "HTTP/1.1 100 Continue", "HTTP/1.1 103 Early Hints",
    "HTTP/1.1 101 Switching Protocols", "HTTP/1.0 200 OK", "HTTP/1.1 503 Busy", "Content-Length: 5", "Content-Length: 0",
    "Transfer-Encoding: chunked", "Connection: close", "Keep-Alive: timeout=1", "Retry-After: 0", "Retry-After: -1", "Upgrade: h2c",
    "x-mesh-nack: 1", "x-mesh-final: 1", "x-mesh-error: overloaded", "Trailer: x", "Location: http://127.0.0.1:1/", "Content-Encoding: gzip",
    "5", "0", "poison",
  ],
  "http2-server": [
    "wait 5", "pause", "end", "reset", "P", "S 3=0", "S 4=0", "S 4=2147483647", "S 1=0", "S 5=16777215", "W 0 1", "W 1 2147483647", "R 1 8", "R 1 7",
    "G 0 0", "GET 3 /c", "POST 5 /c content-length=3", "DE 5 abc", "DE 3 abc", "H 7 x=y", "CE 7 x=y", "Y 1 0", "X 190 255 1 00", "HE 5 x-trailer=1",
  ],
  "http2-client": [
    "wait 5", "end", "reset", "P", "S 3=0", "S 4=0", "S 5=16777215", "W 0 1", "W $ 2147483647", "R $ 0", "R $ 7", "R $ 11", "G 0 0", "G 2147483647 0", "G 0 11",
    "H $ :status=200", "HE $ :status=204", "H $ :status=103", "H $ :status=100", "D $ abc", "DE $ abc", "HE $ x-trailer=1", "PP $ 2 :method=GET", "DE $+2000 poison",
  ],
  "grpc-server": [
    "wait 5", "pause", "end", "reset", "P", "S 3=0", "S 4=0", "W 0 1", "R 1 8", "CALL 3 /t.Bytes/Echo", "CALL 5 /t.Bytes/Up grpc-timeout=1n", "DE 3 m:abc", "D 5 m:abc", "D 1 m@9999999:", "D 1 m1:abc",
  ],
  "grpc-client": [
    "wait 5", "end", "reset", "P", "S 3=0", "R $ 7", "R $ 11", "R $ 0", "G 0 0", "G 2147483647 11", "H $ :status=200 content-type=application/grpc", "H $ :status=503",
    "D $ m:poison", "D $ m@4294967295:", "D $ m1:abc", "HE $ grpc-status=0", "HE $ grpc-status=99", "HE $ grpc-status=14 grpc-retry-pushback-ms=-1",
  ],
  dns: ["A @ 60 127.0.0.9", "AAAA @ 60 ::1", "CNAME @ 60 b.test", "SRV @ 60 1 1 80 b.test", "A ^12 0 127.0.0.8", "rcode 2", "rcode 3", "tc", "id+1", "auth", "add", "raw c00c", "cut 30", "twice", "counts 1 65535 0 0"],
}; // prettier-ignore

const ROUNDS = 3;
const MAX_LENGTH = 60_000;

/** `others`: the corpus of the same surface, whose units are mixed in. */
export function mutate(input: Input, others: readonly Input[], random: Random): Input {
  let { text } = input;
  const rounds = 1 + random.below(ROUNDS);
  for (let i = 0; i < rounds; i++) text = mutated(text, input.surface, others, random);
  // A mutation of a flood is a flood that has not been reviewed: repetitions get smaller.
  text = text
    .slice(0, MAX_LENGTH)
    .replaceAll(/\{(\d{4,})\*/g, (_, count: string) => `{${Number(count) % 2_000}*`)
    .replaceAll(
      /(^|\| )(\d{4,})\*/g,
      (_, before: string, count: string) => `${before}${Number(count) % 500}*`,
    )
    .replaceAll("\n", "");
  return { surface: input.surface, name: `${input.name}~`, accepted: undefined, text };
}

function mutated(text: string, surface: Surface, others: readonly Input[], random: Random): string {
  const separator = SEPARATORS[surface];
  const units = text.split(separator);
  const at = random.below(units.length);
  const unit = units[at]!;
  const put = (...replacement: string[]): string =>
    units.toSpliced(at, 1, ...replacement).join(separator);
  const fields = FIELDS[surface] ?? [];
  switch (random.below(16)) {
    case 0: // twice
      return put(unit, unit);
    case 1: // gone
      return put();
    case 2: {
      // in another's place
      const to = random.below(units.length);
      const moved = units.toSpliced(at, 1);
      return moved.toSpliced(to, 0, unit).join(separator);
    }
    case 3: // a unit of another input
      return put(unit, random.pick(random.pick(others).text.split(separator)));
    case 4: // a well-known one
      return fields.length === 0 ? put(unit, unit) : put(unit, random.pick(fields));
    case 5: // another input behind it, on the same connection
      return text + (surface.startsWith("http1") ? "" : separator) + random.pick(others).text;
    case 6: // ends in the middle
      return text.slice(0, random.below(text.length));
    case 7: // another number
      return put(inNumber(unit, random));
    case 8: // a character too much
      return put(inserted(unit, random.pick(CHARACTERS), random));
    case 9: // another case
      return put(cased(unit, random));
    case 10: // another line break
      return surface.startsWith("http1")
        ? `${units.slice(0, at + 1).join(separator)}${random.pick(BREAKS)}${units.slice(at + 1).join(separator)}`
        : put(inserted(unit, random.pick(BREAKS), random));
    case 11: // over several writes
      return surface.startsWith("http1") || surface === "config"
        ? inserted(text, random.pick(PAUSES), random)
        : put(unit, `wait ${random.below(30)}`);
    case 12: // very long, or very often
      return random.next() < 0.5
        ? put(inserted(unit, `{${random.pick([100, 300, 9_000, 20_000])}*a}`, random))
        : put(...Array.from({ length: 2 + random.below(60) }, () => unit));
    case 13: // two fields change places
      return put(swapped(unit, random));
    case 14: // a character less
      return put(without(unit, random));
    default: // another byte
      return put(without(inserted(unit, random.pick(CHARACTERS), random), random));
  }
}

function inNumber(unit: string, random: Random): string {
  const found = [...unit.matchAll(/\d+/g)];
  if (found.length === 0) return unit + random.pick(NUMBERS);
  const one = random.pick(found);
  const near = Number(one[0]) + (random.next() < 0.5 ? 1 : -1);
  const number = random.next() < 0.3 ? String(near) : random.pick(NUMBERS);
  return unit.slice(0, one.index) + number + unit.slice(one.index + one[0].length);
}

function inserted(text: string, what: string, random: Random): string {
  const at = boundary(text, random);
  return text.slice(0, at) + what + text.slice(at);
}

function without(text: string, random: Random): string {
  if (text === "") return text;
  const at = boundary(text, random);
  return text.slice(0, at) + text.slice(at + (text[at] === "\\" ? 2 : 1));
}

/** Beside a delimiter, where parsers decide; sometimes anywhere. */
function boundary(text: string, random: Random): number {
  const delimiters = [...text.matchAll(/[:;,= /]/g)].map(({ index }) => index);
  if (delimiters.length === 0 || random.next() < 0.3) return random.below(text.length + 1);
  return random.pick(delimiters) + random.below(2);
}

function cased(unit: string, random: Random): string {
  const at = random.below(unit.length + 1);
  const part = unit.slice(at);
  return unit.slice(0, at) + (random.next() < 0.5 ? part.toUpperCase() : part.toLowerCase());
}

function swapped(unit: string, random: Random): string {
  const by = unit.includes(": ") ? ": " : " ";
  const parts = unit.split(by);
  const at = random.below(Math.max(1, parts.length - 1));
  return parts.toSpliced(at, 2, ...parts.slice(at, at + 2).toReversed()).join(by);
}
