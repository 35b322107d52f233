/** Where a command writes: results to stdout, what went wrong with the command itself to stderr. */
import { styleText } from "node:util";

type Style = "bold" | "dim" | "red" | "green" | "yellow";

export class Output {
  readonly #out: NodeJS.WriteStream;
  readonly #err: NodeJS.WriteStream;

  constructor(out: NodeJS.WriteStream = process.stdout, err: NodeJS.WriteStream = process.stderr) {
    this.#out = out;
    this.#err = err;
  }

  line(text: string): void {
    this.#out.write(`${text}\n`);
  }

  error(text: string): void {
    this.#err.write(`${text}\n`);
  }

  /** Columns of the terminal. 80 where the output is a file or a pipe. */
  get width(): number {
    return this.#out.columns ?? 80;
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

  /** Coloured only where stdout is a terminal that wants it: NO_COLOR and FORCE_COLOR are respected. */
  paint(style: Style, text: string): string {
    return styleText(style, text, { stream: this.#out });
  }
}
