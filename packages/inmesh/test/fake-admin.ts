/** Answers as the administration of a process does, with what it is given: for tables that have to be the same always. */
import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { PassThrough } from "node:stream";
import { main } from "../src/cli/main.ts";
import { CLOCK, type Clock } from "../src/cli/clock.ts";
import { Output } from "../src/cli/output.ts";

export interface FakeAdmin {
  readonly server: Server;
  readonly url: string;
  /** What was asked, in order. */
  readonly asked: {
    readonly url: string;
    readonly headers: IncomingMessage["headers"];
    body: string;
  }[];
}

/** By path without `/api/v1/` and query. A list is given one by one, its last entry again and again. */
export type Answers = Readonly<Record<string, unknown>>;

export async function fakeAdmin(answers: Answers | RequestListener): Promise<FakeAdmin> {
  const asked: FakeAdmin["asked"] = [];
  const turns = new Map<string, number>();
  const server = createServer((request, response) => {
    if (typeof answers === "function") {
      answers(request, response);
      return;
    }
    const entry = { url: request.url ?? "", headers: request.headers, body: "" };
    asked.push(entry);
    request.setEncoding("utf8").on("data", (text: string) => (entry.body += text));
    request.on("end", () => {
      const path = entry.url.replace("/api/v1/", "").replace(/\?.*/, "");
      const answer = answers[path];
      if (path === "tap") {
        response.setHeader("content-type", "text/event-stream");
        for (const event of answer as readonly { event: string }[]) {
          response.write(`event: ${event.event}\ndata: ${JSON.stringify(event)}\n\n`);
        }
        response.end(": the end\n\n");
        return;
      }
      const turn = turns.get(path) ?? 0;
      turns.set(path, turn + 1);
      const one: unknown = Array.isArray(answer)
        ? answer[Math.min(turn, answer.length - 1)]
        : answer;
      response.setHeader("content-type", "application/json").end(JSON.stringify(one));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

export interface RunInit {
  /** Of the terminal; undefined: a pipe. */
  readonly columns?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly clock?: Clock;
  readonly signal?: AbortSignal;
}

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** A command in this process. */
export async function run(args: readonly string[], init: RunInit = {}): Promise<Ran> {
  const { columns, clock = CLOCK, signal = new AbortController().signal } = init;
  // The processes that run on the machine of the one who tests are no part of a test.
  const env = { LANG: "en_US.UTF-8", NO_COLOR: "1", INMESH_REGISTRY: "off", ...init.env };
  const [out, err] = [sink(columns), sink(undefined)];
  const output = new Output({ out: out.stream, err: err.stream, env });
  const code = await main(args, { output, clock, env, stdin: process.stdin, signal });
  return { code, out: out.text(), err: err.text() };
}

function sink(columns: number | undefined): { stream: NodeJS.WriteStream; text: () => string } {
  const stream = new PassThrough();
  const pieces: string[] = [];
  stream.setEncoding("utf8").on("data", (text: string) => pieces.push(text));
  const shown = Object.assign(stream, columns === undefined ? {} : { columns });
  return {
    stream: shown as unknown as NodeJS.WriteStream,
    text: () => {
      let rest: string | null;
      while ((rest = stream.read() as string | null) !== null) pieces.push(rest);
      return pieces.join("");
    },
  };
}
