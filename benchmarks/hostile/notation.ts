/**
 * How inputs are written: as one line of printable text each, so that the corpus can be read, and a
 * mutation that found something can be pasted into it as it was printed.
 *
 *   \n CRLF   \l LF   \r CR   \t tab   \0 NUL   \s space   \x1f any byte   \\ \{ \} \| the character
 *   {3*text}  the text three times; `#` in it is the number of the repetition
 *   {h}       `Host: a`
 *   {wait 50} 50 ms of silence      {part} a write ends here      {pause} reads nothing from now on
 *   {end}     half-closes           {reset} ends the connection by RST
 *
 * What is written wrongly is taken as it stands: a mutation may break a line anywhere.
 */
export type Step =
  | { readonly kind: "bytes"; readonly bytes: Buffer }
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "end" }
  | { readonly kind: "reset" }
  | { readonly kind: "pause" };

/** A line of a corpus that says more is a mistake of the corpus; a mutation is cut. */
const MAX_BYTES = 24_000_000;
const MAX_WAIT_MS = 2_000;

const ESCAPES: Readonly<Record<string, string>> = {
  n: "\r\n",
  l: "\n",
  r: "\r",
  t: "\t",
  s: " ",
  "0": "\0",
};
const TOKEN =
  /\\x([0-9a-fA-F]{2})|\\(.)|\{(\d+)\*([^}]*)\}|\{(h|part|pause|end|reset|wait \d+)\}/gs;

/** The bytes that a text stands for, as characters up to U+00FF; directives are left out. */
export function unescaped(text: string): string {
  return stepsOf(text)
    .map((step) => (step.kind === "bytes" ? step.bytes.toString("latin1") : ""))
    .join("");
}

export function stepsOf(text: string): Step[] {
  const steps: Step[] = [];
  let pending = "";
  let room = MAX_BYTES;
  const add = (more: string): void => {
    pending += more.slice(0, Math.max(0, room));
    room -= more.length;
  };
  const flush = (): void => {
    if (pending !== "") steps.push({ kind: "bytes", bytes: Buffer.from(pending, "latin1") });
    pending = "";
  };
  let at = 0;
  for (const match of text.matchAll(TOKEN)) {
    add(text.slice(at, match.index));
    at = match.index + match[0].length;
    const [, hex, escape, times, repeated = "", directive] = match;
    if (hex !== undefined) add(String.fromCharCode(Number.parseInt(hex, 16)));
    else if (escape !== undefined) add(ESCAPES[escape] ?? escape);
    else if (times !== undefined) add(repeat(Number(times), repeated, room));
    else if (directive === "h") add("Host: a");
    else if (directive !== undefined) {
      flush();
      if (directive.startsWith("wait")) {
        steps.push({ kind: "wait", ms: Math.min(MAX_WAIT_MS, Number(directive.slice(5))) });
      } else if (directive !== "part") {
        steps.push({ kind: directive as "end" | "reset" | "pause" });
      }
    }
  }
  add(text.slice(at));
  flush();
  return steps;
}

function repeat(times: number, repeated: string, room: number): string {
  const plain = unescaped(repeated);
  if (plain === "") return "";
  const count = Math.min(times, Math.ceil(Math.max(0, room) / plain.length));
  if (!plain.includes("#")) return plain.repeat(count);
  return Array.from({ length: count }, (_, i) => plain.replaceAll("#", String(i))).join("");
}

/** All bytes of the steps, as they follow each other on the wire. */
export function bytesOf(steps: readonly Step[]): Buffer {
  return Buffer.concat(steps.flatMap((step) => (step.kind === "bytes" ? [step.bytes] : [])));
}
