/**
 * The corpus: `corpus/<surface>.txt`, an input a line. A line is a verdict, a name and the input, with
 * ` | ` between; lines with `#` are comments, and the one above an input says what it shows.
 *
 *   -    nothing beyond the rules that hold for every input
 *   =N   so many requests reach the handler whole (of a DNS answer: so many addresses are believed,
 *        of a configuration or PEM: 1 is accepted, 0 refused)
 */
import { readFileSync } from "node:fs";

export const SURFACES = [
  "http1-server",
  "http2-server",
  "grpc-server",
  "http1-client",
  "http2-client",
  "grpc-client",
  "dns",
  "config",
  "pem",
] as const;
export type Surface = (typeof SURFACES)[number];

export interface Input {
  readonly surface: Surface;
  readonly name: string;
  /** What of it must be accepted; undefined: only the rules that hold for every input. */
  readonly accepted: number | undefined;
  readonly text: string;
}

export function corpusOf(surface: Surface): Input[] {
  const url = new URL(`./corpus/${surface}.txt`, import.meta.url);
  return parseCorpus(surface, readFileSync(url, "utf8"));
}

/** Throws for a line that is none, and for a name that is there twice. */
export function parseCorpus(surface: Surface, content: string): Input[] {
  const names = new Set<string>();
  return content.split("\n").flatMap((line, i) => {
    if (line.trim() === "" || line.startsWith("#")) return [];
    const match = /^(-|=\d+) ([^|]+?) \| (.*)$/.exec(line);
    if (match === null) throw new Error(`corpus/${surface}.txt:${i + 1}: not a line of a corpus`);
    const [, verdict, name, text] = match as unknown as [string, string, string, string];
    if (names.has(name)) throw new Error(`corpus/${surface}.txt:${i + 1}: ${name} is there twice`);
    names.add(name);
    const accepted = verdict === "-" ? undefined : Number(verdict.slice(1));
    return [{ surface, name, accepted, text }];
  });
}

/** As a line that can be pasted into the corpus. */
export function lineOf({ name, accepted, text }: Input): string {
  return `${accepted === undefined ? "-" : `=${accepted}`} ${name} | ${text}`;
}
