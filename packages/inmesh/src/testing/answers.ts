/** What a stubbed service may say. Each is plain data or a function, so a test can make its own. */
import type { StubRequest } from "./stub-request.ts";

/** One reply as it goes out. */
export interface StubReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
  /** Milliseconds before the head is sent. */
  readonly delayMs?: number;
}

/**
 * - `reset`: the connection is reset before a byte of the reply.
 * - `cut`: head and half of the body, then the connection is reset.
 * - `silence`: no reply at all, until the caller gives up or the stub is closed.
 * - `garbage`: bytes that are not HTTP.
 */
export type StubFault = { readonly fault: "reset" | "cut" | "silence" | "garbage" };

export type StubAnswer =
  | StubReply
  | StubFault
  | ((request: StubRequest) => StubReply | StubFault | Promise<StubReply | StubFault>);

export interface StubReplyInit {
  /** Default 200. */
  readonly status?: number;
  /** In addition to content-type, or instead of it. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** A JSON body. */
export function json(value: unknown, init: StubReplyInit = {}): StubReply {
  return reply("application/json", JSON.stringify(value), init);
}

/** A body of text. */
export function text(body: string, init: StubReplyInit = {}): StubReply {
  return reply("text/plain; charset=utf-8", body, init);
}

/** A status and no body: `status(503, { "retry-after": "1" })`. */
export function status(code: number, headers: Readonly<Record<string, string>> = {}): StubReply {
  return { status: code, headers, body: "" };
}

/** The same answer, after so many milliseconds. */
export function slow(delayMs: number, answer: StubReply): StubReply {
  return { ...answer, delayMs };
}

/** Not a reply but a failure of the network or of the peer. */
export function fault(kind: StubFault["fault"]): StubFault {
  return { fault: kind };
}

/** The first answer to the first request, and so on; the last one stays. Throws a TypeError without any. */
export function inTurn(...answers: readonly StubAnswer[]): StubAnswer {
  const last = answers.at(-1);
  if (last === undefined) throw new TypeError("inTurn: give at least one answer");
  let next = 0;
  return (request) => {
    const answer = answers[next++] ?? last;
    return typeof answer === "function" ? answer(request) : answer;
  };
}

function reply(
  type: string,
  body: string,
  { status: code = 200, headers }: StubReplyInit,
): StubReply {
  return { status: code, headers: { "content-type": type, ...headers }, body };
}
