/** Asks one process, over its administration API. Everything that can go wrong becomes a `Failure`. */
import { duration } from "@inmesh/core/inspect";
import type { Agent, ClientRequest, IncomingMessage } from "node:http";
import type { Answer, Failure as ApiFailure } from "@inmesh/core/inspect";
import type { Context } from "./command.ts";
import { EXIT, Failure, type ExitCode } from "./failure.ts";
import { targetOf, tokenAt, type ConnectionValues, type Target } from "./target.ts";
import { escaped } from "./text.ts";

const API_VERSION: Answer["apiVersion"] = "inmesh.dev/v1";
const BASE = "/api/v1/";
/** Of one answer. A process with 1,000 endpoints and 20 routes answers with less than a tenth of it. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
/** Of one event of a stream. */
const MAX_EVENT_BYTES = 1024 * 1024;

export interface ServerEvent {
  readonly name: string;
  readonly data: string;
}

/**
 * Gives `use` the process that flags or environment name. What `use` cannot read in its answers is a `Failure`: they may
 * be of another version, or of something that only looks like a process.
 */
export async function withAdmin<T>(
  values: ConnectionValues,
  context: Context,
  use: (admin: Admin) => Promise<T>,
): Promise<T> {
  const admin = new Admin(await targetOf(values, context), context);
  try {
    return await use(admin);
  } catch (error) {
    const isOfAnswer = error instanceof TypeError || error instanceof RangeError;
    if (!admin.hasAnswered || !isOfAnswer) throw error;
    const text = {
      what: `${admin.shown} answers otherwise than this program expects`,
      why: error.message,
      next: "Is it another version of inmesh? inmesh version shows both. If it is the same, please report this with the lines that --debug adds.",
    };
    throw new Failure(EXIT.unreachable, text, error);
  } finally {
    admin.close();
  }
}

export class Admin {
  /** The process has given something that looked like an answer. */
  hasAnswered = false;
  #target: Target;
  readonly #context: Context;
  /** Of node:http, which is loaded for the first question: the joined build has this file in every start. */
  #agent: Agent | undefined = undefined;

  constructor(target: Target, context: Context) {
    this.#target = target;
    this.#context = context;
  }

  get shown(): string {
    return this.#target.shown;
  }

  close(): void {
    this.#agent?.destroy();
  }

  async get<A extends Answer>(kind: A["kind"], path: string): Promise<A> {
    return this.#read<A>(kind, await this.#ask("GET", path, undefined));
  }

  async post<A extends Answer>(kind: A["kind"], path: string, body: unknown): Promise<A> {
    return this.#read<A>(kind, await this.#ask("POST", path, JSON.stringify(body)));
  }

  /** Ends when the process ends the stream or `signal` of the context aborts. `onAccepted` runs when it begins. */
  async *events(path: string, onAccepted?: () => void): AsyncGenerator<ServerEvent, void> {
    const { response, cancelTimeout } = await this.#ask(
      "GET",
      path,
      undefined,
      "text/event-stream",
    );
    if (response.statusCode !== 200) {
      await this.#read("Error", { response, cancelTimeout });
      return;
    }
    cancelTimeout();
    this.hasAnswered = true;
    onAccepted?.();
    response.setEncoding("utf8");
    let text = "";
    let name = "message";
    let data: string[] = [];
    let length = 0;
    try {
      for await (const piece of response as AsyncIterable<string>) {
        text += piece;
        const lines = text.split(/\r\n|\n|\r(?!$)/);
        text = lines.pop()!;
        for (const line of lines) {
          length += line.length;
          if (length > MAX_EVENT_BYTES) break;
          if (line === "") {
            if (data.length > 0) yield { name, data: data.join("\n") };
            name = "message";
            data = [];
            length = 0;
          } else if (line.startsWith("event:")) name = line.slice(6).trimStart();
          else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
        }
        if (length + text.length > MAX_EVENT_BYTES) {
          throw this.#notOurs("an event of its stream has no end");
        }
      }
    } catch (error) {
      if (error instanceof Failure) throw error;
      if (!this.#context.signal.aborted) throw this.#failed(error as NodeJS.ErrnoException, false);
    } finally {
      response.destroy();
    }
  }

  /** A process that wants a token, and was named without one, may have made one for this user. */
  async #ask(
    method: string,
    path: string,
    body: string | undefined,
    accept = "application/json",
  ): Promise<Asked> {
    const asked = await this.#send(method, path, body, accept);
    if (asked.response.statusCode !== 401 || this.#target.token !== undefined) return asked;
    const token = await tokenAt(this.#target.shown, this.#context);
    if (token === undefined) return asked;
    this.#target = { ...this.#target, token };
    asked.cancelTimeout();
    asked.response.resume();
    return this.#send(method, path, body, accept);
  }

  #send(method: string, path: string, body: string | undefined, accept: string): Promise<Asked> {
    const { host, port, socketPath, token, timeoutMs } = this.#target;
    const { clock, signal } = this.#context;
    // `import()` would read every export of it, and one of them loads all of Node's fetch.
    const { Agent: Made, request } = process.getBuiltinModule("node:http");
    const agent = (this.#agent ??= new Made({ keepAlive: true, maxSockets: 1 }));
    const headers: Record<string, string> = { accept };
    if (token !== undefined) headers["authorization"] = `Bearer ${token}`;
    if (body !== undefined) headers["content-type"] = "application/json";
    return new Promise((resolve, reject) => {
      let isLate = false;
      let asked: ClientRequest | undefined;
      const interrupt = (): void => void asked?.destroy();
      const cancelTimer = clock.after(timeoutMs, () => {
        isLate = true;
        asked?.destroy();
      });
      const cancelTimeout = (): void => cancelTimer();
      asked = request(
        {
          method,
          path: BASE + path,
          headers,
          agent,
          ...(socketPath === undefined ? { host, port } : { socketPath }),
        },
        (response) => {
          // What is destroyed while it is read ends with an error there.
          response.on("close", () => signal.removeEventListener("abort", interrupt));
          resolve({ response, cancelTimeout, isLate: () => isLate });
        },
      );
      asked.on("error", (error) => {
        cancelTimer();
        signal.removeEventListener("abort", interrupt);
        reject(this.#failed(error, isLate));
      });
      if (signal.aborted) interrupt();
      else signal.addEventListener("abort", interrupt);
      asked.end(body);
    });
  }

  async #read<A extends Answer>(
    kind: A["kind"],
    { response, cancelTimeout, isLate }: Asked,
  ): Promise<A> {
    const pieces: Buffer[] = [];
    let bytes = 0;
    try {
      for await (const piece of response as AsyncIterable<Buffer>) {
        bytes += piece.length;
        if (bytes > MAX_ANSWER_BYTES) throw this.#notOurs("its answer is larger than 64 MiB");
        pieces.push(piece);
      }
    } catch (error) {
      if (error instanceof Failure) throw error;
      throw this.#failed(error as NodeJS.ErrnoException, isLate?.() ?? false);
    } finally {
      cancelTimeout();
    }
    let answer: Partial<A> | undefined;
    try {
      answer = JSON.parse(Buffer.concat(pieces).toString()) as Partial<A>;
    } catch {
      // Said below, together with what is JSON and nothing of ours.
    }
    const status = response.statusCode ?? 0;
    if (typeof answer !== "object" || answer === null || typeof answer.apiVersion !== "string") {
      throw this.#notOurs(`it replied with status ${status} and something else`);
    }
    if (answer.apiVersion !== API_VERSION) {
      throw this.#notOurs(
        `it speaks ${escaped(answer.apiVersion)}, and this program ${API_VERSION}`,
        "Use the inmesh that the process has installed.",
      );
    }
    if (answer.kind === "Error") throw refusal(status, answer as Partial<ApiFailure>);
    if (status !== 200 || answer.kind !== kind) {
      throw this.#notOurs(`it replied with status ${status} and ${escaped(String(answer.kind))}`);
    }
    const missing = LISTS[kind]?.find((name) => !Array.isArray(Reflect.get(answer, name)));
    if (missing !== undefined) throw this.#notOurs(`its ${kind} have no list ${missing}`);
    this.hasAnswered = true;
    return answer as A;
  }

  #notOurs(
    why: string,
    next = "Is it the address that mesh.admin.listen() of the process gives?",
  ): Failure {
    const what = `${this.#target.shown} does not answer as the administration of an inmesh process`;
    return new Failure(EXIT.unreachable, { what, why, next });
  }

  #failed(error: NodeJS.ErrnoException, isLate: boolean): Failure {
    const { shown, timeoutMs, socketPath } = this.#target;
    if (this.#context.signal.aborted) {
      return new Failure(EXIT.interrupted, { what: "Interrupted" }, error);
    }
    if (isLate) {
      return new Failure(
        EXIT.timeout,
        {
          what: `${shown} has not answered within ${duration(timeoutMs)}`,
          why: "the process is stopped or busy, or something else listens there",
          next: "Wait for longer with --timeout.",
        },
        error,
      );
    }
    if (error.code === "EACCES" || error.code === "EPERM") {
      return new Failure(
        EXIT.denied,
        {
          what: `${shown} may not be used by this user`,
          why: error.message,
          next: "Run the command as the user of the process.",
        },
        error,
      );
    }
    const next =
      socketPath === undefined
        ? "Is the process running, and does it call mesh.admin.listen()?"
        : "Is the process running, and does it listen on that path?";
    return new Failure(
      EXIT.unreachable,
      { what: `${shown} cannot be reached`, why: reasonOf(error), next },
      error,
    );
  }
}

/** Lists that an answer has: what lacks them is no answer of a process, whatever it calls itself. */
const LISTS: Readonly<Record<string, readonly string[]>> = {
  Services: ["services", "servers", "latencyBoundsSeconds"],
  Endpoints: ["endpoints"],
  Config: ["values", "sources"],
  Checks: ["checks"],
  Explanation: ["matches", "split", "candidates"],
};

interface Asked {
  readonly response: IncomingMessage;
  readonly cancelTimeout: () => void;
  readonly isLate?: () => boolean;
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ENOENT: "there is no such socket",
  ECONNRESET: "the connection was cut",
  ENOTFOUND: "there is no such host",
};

/** Both addresses of localhost fail together, and Node says nothing then. */
function reasonOf(error: NodeJS.ErrnoException): string {
  const { code = "", message } = error;
  return REASONS[code] ?? (message === "" ? code : message);
}

/** What to do about a token in this program: the process says it for those who speak HTTP themselves. */
const NEXT: Readonly<Record<string, string>> = {
  token_missing:
    "Name the token of the process with --token-file or INMESH_ADMIN_TOKEN_FILE: the one that its mesh.admin.listen() was given or gave back",
  token_wrong:
    "Is it the token of this process? It is the one that its mesh.admin.listen() was given or gave back; a restart makes a new one where none was given",
};

/** The process says why, and what to do. */
function refusal(status: number, given: Partial<ApiFailure>): Failure {
  const text = (value: unknown): string | undefined =>
    typeof value === "string" && value !== "" ? value : undefined;
  const [code, message, hint] = [text(given.code), text(given.message), text(given.hint)];
  return new Failure(exitOf(status), {
    // On one line: what stands on further ones is what this program says.
    what: escaped(message ?? "The process refused"),
    why: `the process answered with status ${status}, ${code ?? "without a code"}`,
    next: code !== undefined && Object.hasOwn(NEXT, code) ? NEXT[code] : hint,
  });
}

function exitOf(status: number): ExitCode {
  if (status === 401 || status === 403) return EXIT.denied;
  if (status === 409) return EXIT.conflict;
  if (status === 408 || status === 504) return EXIT.timeout;
  // What it was asked for is wrong: a service or a filter of the command line.
  if (status === 400 || status === 404 || status === 413) return EXIT.usage;
  return EXIT.unreachable;
}
