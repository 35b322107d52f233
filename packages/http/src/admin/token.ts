/**
 * The token of a listener: a text, or the first line of a file, which is read again when somebody comes with
 * another one. Compared in a time that does not depend on how much of it is right.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { ConfigError } from "@inmesh/core";
import { makeMistake, type Runtime } from "@inmesh/core/spi";
import type { AdminOptions } from "./options.ts";
import { tokenRule } from "./options.ts";

/** Between two looks at the file: wrong tokens must not become reads of a disk. */
const REREAD_MS = 1_000;
const RANDOM_BYTES = 32;

export class Token {
  /** Undefined: who has opened the listener knows it. */
  readonly made: string | undefined;
  readonly #file: string | undefined;
  readonly #runtime: Runtime;
  #digest: Buffer;
  #readAt: number;
  #reading: Promise<void> | undefined = undefined;

  /** Throws a ConfigError for a file that cannot be read, or has no token. */
  static async of(token: AdminOptions["token"], runtime: Runtime): Promise<Token> {
    if (typeof token === "string") return new Token(token, undefined, undefined, runtime);
    if (token === undefined) {
      const made = randomToken();
      return new Token(made, made, undefined, runtime);
    }
    const { file } = token;
    const read = await readToken(file);
    if (read !== undefined) return new Token(read, undefined, file, runtime);
    const made = randomToken();
    if (await writeToken(file, made)) return new Token(made, made, file, runtime);
    // Another process that starts now was faster.
    const theirs = await readToken(file);
    if (theirs === undefined) throw fileError("is written and removed by others", file);
    return new Token(theirs, undefined, file, runtime);
  }

  private constructor(
    text: string,
    made: string | undefined,
    file: string | undefined,
    runtime: Runtime,
  ) {
    this.made = made;
    this.#file = file;
    this.#runtime = runtime;
    this.#digest = digestOf(text);
    this.#readAt = runtime.now();
  }

  async accepts(given: string): Promise<boolean> {
    const digest = digestOf(given);
    if (timingSafeEqual(digest, this.#digest)) return true;
    if (this.#file === undefined) return false;
    await this.#reread(this.#file);
    return timingSafeEqual(digest, this.#digest);
  }

  /** A file that cannot be read, or has no token, changes nothing. */
  async #reread(file: string): Promise<void> {
    const now = this.#runtime.now();
    if (this.#reading === undefined && now - this.#readAt >= REREAD_MS) {
      this.#readAt = now;
      this.#reading = readToken(file).then(
        (text) => {
          if (text !== undefined) this.#digest = digestOf(text);
        },
        () => {},
      );
      void this.#reading.finally(() => (this.#reading = undefined));
    }
    await this.#reading;
  }
}

/** Both have the same length then, whatever was sent. */
function digestOf(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

function randomToken(): string {
  return randomBytes(RANDOM_BYTES).toString("base64url");
}

/** Undefined: there is no such file. */
async function readToken(file: string): Promise<string | undefined> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw fileError(`cannot be read: ${(error as Error).message}`, file);
  }
  const [line = ""] = text.split("\n", 1);
  const token = line.trim();
  const rule = tokenRule(token);
  if (rule === undefined) return token;
  throw fileError(`its first line ${rule}`, file);
}

/** False: there is one by now. */
async function writeToken(file: string, token: string): Promise<boolean> {
  try {
    await writeFile(file, `${token}\n`, { mode: 0o600, flag: "wx" });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw fileError(`cannot be written: ${(error as Error).message}`, file);
  }
}

function fileError(rule: string, file: string): ConfigError {
  return new ConfigError([makeMistake(["file"], rule, file, "mesh.admin.listen")]);
}
