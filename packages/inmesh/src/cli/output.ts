/** Where a command writes: data to stdout, notes and what went wrong to stderr. */
import { styleText } from "node:util";
import { escaped, safeJson } from "./text.ts";

export type Style = "bold" | "dim" | "red" | "green" | "yellow" | "inverse";

/** Marks that stand for a state, and what they are where the locale has no UTF-8. */
const SYMBOLS = {
  ok: ["√", "ok"],
  warning: ["‼", "!!"],
  failed: ["×", "xx"],
  cut: ["…", "..."],
  separator: ["·", "-"],
  arrow: ["→", "->"],
} as const;

export type SymbolName = keyof typeof SYMBOLS;

export interface OutputOptions {
  readonly out?: NodeJS.WriteStream;
  readonly err?: NodeJS.WriteStream;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly platform?: string;
}

export class Output {
  /** Symbols and text beyond ASCII can be shown. */
  readonly unicode: boolean;
  readonly #out: NodeJS.WriteStream;
  readonly #err: NodeJS.WriteStream;
  readonly #env: Readonly<Record<string, string | undefined>>;
  #colour = true;

  constructor({
    out = process.stdout,
    err = process.stderr,
    env = process.env,
    platform = process.platform,
  }: OutputOptions = {}) {
    this.#out = out;
    this.#err = err;
    this.#env = env;
    this.unicode = platform === "win32" || hasUtf8(env);
  }

  /** One line of data. Text that came from elsewhere must have been escaped. */
  line(text: string): void {
    this.#out.write(`${text}\n`);
  }

  /** Bytes of the terminal's own language: only where `isTerminal`. */
  write(text: string): void {
    this.#out.write(text);
  }

  error(text: string): void {
    this.#err.write(`${text}\n`);
  }

  /** A sentence on stderr, in lines that fit if that is a terminal. `indent` is that of all lines but the first. */
  note(text: string, indent = 0): void {
    this.error(this.#err.isTTY ? this.wrap(text, indent).slice(indent) : text);
  }

  /** For a person who waits: on stderr if that is a terminal, else nothing. */
  hint(text: string): void {
    if (this.#err.isTTY) this.error(escaped(text, !this.unicode));
  }

  /** One JSON document on one line, or on several. */
  json(value: unknown, space?: number): void {
    this.line(safeJson(value, space, !this.unicode));
  }

  /** Text of a process or of its peers, harmless. */
  safe(text: string): string {
    return escaped(text, !this.unicode);
  }

  /** The same of text whose line breaks are ours. */
  safeLines(text: string): string {
    return text
      .split("\n")
      .map((line) => this.safe(line))
      .join("\n");
  }

  symbol(name: SymbolName): string {
    return SYMBOLS[name][this.unicode ? 0 : 1];
  }

  get isTerminal(): boolean {
    if (!this.#out.isTTY) return false;
    return this.#env["TERM"] !== "dumb";
  }

  /** Rows of the terminal. */
  get height(): number {
    return this.#out.rows ?? 24;
  }

  /** Columns for sentences: those of the terminal or of COLUMNS, else 80. */
  get width(): number {
    return this.#columns ?? 80;
  }

  /** Columns for tables. A file or a pipe has no end of the line, and a search in it wants whole names. */
  get tableWidth(): number {
    return this.#columns ?? Infinity;
  }

  get #columns(): number | undefined {
    if (this.#out.columns > 0) return this.#out.columns;
    const { COLUMNS = "" } = this.#env;
    return /^[1-9]\d{0,4}$/.test(COLUMNS) ? Number(COLUMNS) : undefined;
  }

  /** Breaks a sentence into lines that fit the terminal, each behind `indent` spaces. */
  wrap(text: string, indent: number): string {
    const room = Math.max(20, this.width - indent);
    const lines: string[] = [];
    let line = "";
    for (const word of text.split(" ")) {
      if (line !== "" && line.length + 1 + word.length > room) {
        lines.push(line);
        line = word;
      } else line = line === "" ? word : `${line} ${word}`;
    }
    lines.push(line);
    return lines.map((one) => " ".repeat(indent) + one).join("\n");
  }

  /** `--no-color`. */
  withoutColour(): void {
    this.#colour = false;
  }

  /** Coloured only where stdout is a terminal that wants it: NO_COLOR, FORCE_COLOR and TERM=dumb are respected. */
  paint(style: Style, text: string): string {
    if (!this.#colour) return text;
    return styleText(style, text, { stream: this.#out });
  }

  onResize(run: () => void): () => void {
    this.#out.on("resize", run);
    return () => this.#out.off("resize", run);
  }
}

/** As the C library reads it: the first of the three that says something. */
function hasUtf8(env: Readonly<Record<string, string | undefined>>): boolean {
  const locale = [env["LC_ALL"], env["LC_CTYPE"], env["LANG"]].find(
    (one) => one !== undefined && one !== "",
  );
  return /utf-?8/i.test(locale ?? "");
}
