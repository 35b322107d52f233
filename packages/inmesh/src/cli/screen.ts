/**
 * A terminal that is drawn in place. Whatever it has changed is put back when it is closed, and when the process
 * ends without that.
 */
import type { Context } from "./command.ts";

const ENTER = "\u001b[?1049h\u001b[?25l";
const LEAVE = "\u001b[?25h\u001b[?1049l";
const HOME = "\u001b[H";
const TO_END_OF_LINE = "\u001b[K";
const TO_END = "\u001b[J";
const CTRL_C = "\u0003";
const CTRL_Z = "\u001a";

/** The whole terminal, with its former content back at the end; for `top`. */
export class Screen {
  readonly #context: Context;
  readonly #onKey: (key: string) => void;
  readonly #redraw: () => void;
  #open = false;
  #stopResize: () => void = () => {};

  readonly #restore = (): void => {
    if (!this.#open) return;
    this.#open = false;
    const { stdin, output } = this.#context;
    if (stdin.isTTY) stdin.setRawMode(false);
    output.write(LEAVE);
  };
  readonly #onData = (data: string): void => {
    for (const key of data) {
      if (key === CTRL_C) process.kill(process.pid, "SIGINT");
      else if (key === CTRL_Z) this.#suspend();
      else this.#onKey(key);
    }
  };
  readonly #resume = (): void => {
    // The shell has set the terminal as it likes it, and Node believes that it is still as it was left.
    const { stdin } = this.#context;
    if (stdin.isTTY) stdin.setRawMode(false);
    this.#open = false;
    this.#enter();
    this.#redraw();
  };

  constructor(context: Context, onKey: (key: string) => void, redraw: () => void) {
    this.#context = context;
    this.#onKey = onKey;
    this.#redraw = redraw;
  }

  open(): void {
    const { stdin, output } = this.#context;
    // Also after a defect of ours, and after process.exit.
    process.on("exit", this.#restore);
    process.on("SIGCONT", this.#resume);
    this.#stopResize = output.onResize(this.#redraw);
    if (stdin.isTTY) stdin.setEncoding("utf8").on("data", this.#onData);
    this.#enter();
  }

  close(): void {
    this.#restore();
    this.#stopResize();
    process.off("exit", this.#restore);
    process.off("SIGCONT", this.#resume);
    const { stdin } = this.#context;
    stdin.off("data", this.#onData);
    stdin.pause();
  }

  /** Lines beyond the height of the terminal are left out. */
  draw(lines: readonly string[]): void {
    if (!this.#open) return;
    const { output } = this.#context;
    const shown = lines.slice(0, output.height).map((line) => line + TO_END_OF_LINE);
    output.write(HOME + shown.join("\r\n") + TO_END);
  }

  #enter(): void {
    if (this.#open) return;
    this.#open = true;
    const { stdin, output } = this.#context;
    if (stdin.isTTY) stdin.setRawMode(true);
    output.write(ENTER);
  }

  /** In raw mode the terminal does not stop the process by itself. */
  #suspend(): void {
    this.#restore();
    process.kill(process.pid, "SIGTSTP");
    // It goes on here, also where there is no shell that could stop it, such as in a container.
    this.#resume();
  }
}

/** A table that is drawn again where it stands, below what the terminal shows already; for `-w`. */
export class InPlace {
  readonly #output: Context["output"];
  #height = 0;

  constructor(output: Context["output"]) {
    this.#output = output;
  }

  /** What is drawn next stands below what the terminal shows, because something else was printed. */
  begin(): void {
    this.#height = 0;
  }

  draw(lines: readonly string[]): void {
    const { height } = this.#output;
    // What has scrolled out cannot be drawn over.
    const room = Math.max(1, height - 1);
    const shown =
      lines.length > room ? [...lines.slice(0, room - 1), more(lines.length - room + 1)] : lines;
    const up = this.#height === 0 ? "" : `\u001b[${this.#height}A\r`;
    this.#output.write(
      `${up}${shown.map((line) => line + TO_END_OF_LINE).join("\r\n")}\r\n${TO_END}`,
    );
    this.#height = shown.length;
  }
}

function more(rows: number): string {
  return `and ${rows} more; a higher terminal shows them`;
}
